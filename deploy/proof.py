"""Lets a packed app do its work: imports all that it imports, and encodes a file of every type in binary.

    python -I -S -B deploy/proof.py APP PACKAGES

package.py runs it by the app's Python, which then has the standard library, the two folders and nothing else. It prints
as JSON which files the app loads until each function has begun its first call, and what the file became.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import sys
from pathlib import Path

# By the type's number in PostgreSQL's catalogue: its modifier and three cells of a CSV.
_CELLS = {
    16: (-1, "t", "false", ""),
    20: (-1, "9223372036854775807", "-1", ""),
    21: (-1, "-32768", "7", ""),
    23: (-1, "2147483647", "0", ""),
    25: (-1, '"a ""b"", c"', "\u00e4\u20ac", '""'),
    114: (-1, '"{""a"": 1}"', "[]", ""),
    700: (-1, "1.5", "NaN", ""),
    701: (-1, "0.1", "-1e300", ""),
    1042: (5 + 4, "abcde", "a", ""),
    1043: (20 + 4, '"two\nlines"', '""', ""),
    1082: (-1, "2025-01-01", "1969-12-31", ""),
    1114: (-1, "2025-01-01 01:02:03.456789", "1969-12-31T00:00:00", ""),
    1184: (-1, "2025-01-01 01:02:03+01", "1969-12-31 00:00:00.5Z", ""),
    1700: ((12 << 16 | 3) + 4, "123456789.123", "-0.5", ""),
    2950: (-1, "00112233-4455-6677-8899-aabbccddeeff", "ffffffff-ffff-ffff-ffff-ffffffffffff", ""),
    3802: (-1, '"{""a"": [1, null]}"', "3", ""),
}

_NEED_PYARROW = ("shared.binary.encoder", "shared.binary.records", "shared.binary.values")


def main() -> None:
    """Import, encode, and print the outcome."""
    app, packages = (Path(folder).resolve() for folder in sys.argv[1:])
    sys.path[:0] = [str(app), str(packages)]
    for function in sorted(app.glob("*/function.json")):
        importlib.import_module(function.parent.name)
    sources = [file for file in app.rglob("*.py") if packages not in file.parents]
    names = {".".join(file.relative_to(app).with_suffix("").parts) for file in sources}
    # A function imports what it does at its first call.
    for name in sorted(names - set(_NEED_PYARROW)):
        importlib.import_module(name)
    loaded = [Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))]
    started = sorted({str(file) for file in loaded if file.suffix == ".py" and app in file.parents})
    has_binary = (packages / "pyarrow").exists()
    names |= {name for file in sources for name in _imported(ast.parse(file.read_text()))}
    for name in sorted(names):
        if has_binary or not name.startswith(("pyarrow", "pgpq", *_NEED_PYARROW)):
            importlib.import_module(name)
    sys.stdout.write(json.dumps({"started": started, "encoded": _encoded() if has_binary else None}))


def _imported(tree: ast.Module) -> set[str]:
    """Return the modules that a file imports, in its functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
    return found


def _encoded() -> list[str]:
    """Encode a file with a column of each type that is copied in binary, with each option that changes a cell."""
    from shared.binary import eligibility, encoder  # noqa: PLC0415 - of the folders that main names
    from shared.csvfile.options import CsvOptions  # noqa: PLC0415
    from shared.timescale.table import Column  # noqa: PLC0415

    # So that a new type is not forgotten here.
    if set(_CELLS) != set(eligibility.KINDS):
        raise AssertionError("deploy/proof.py has other types than shared/binary/eligibility.py")
    columns = [Column(f"c{oid}", type_oid=oid, type_mod=modifier) for oid, (modifier, *_) in _CELLS.items()]
    rows = zip(*(cells for _, *cells in _CELLS.values()), strict=True)
    data = "".join(",".join(row) + "\n" for row in rows).encode()
    texts = ("c25", "c1043")
    options = [
        CsvOptions(header=False),
        CsvOptions(header=False, force_null=texts),
        CsvOptions(header=False, force_not_null=texts),
    ]
    encoded = [b"".join(encoder.BinaryRows(columns, option).encode([data])) for option in options]
    return [hashlib.sha256(one).hexdigest() for one in encoded]


if __name__ == "__main__":
    main()
