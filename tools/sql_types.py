"""`make lint`: SQL is text that stands in the program, or put together by psycopg2.sql. basedpyright checks the types.

psycopg 3 takes `LiteralString` for a statement: https://www.psycopg.org/psycopg3/docs/advanced/typing.html. psycopg2's
stubs take any text, so a copy of them is checked against that takes what psycopg 3 does. mypy takes `LiteralString` for
`str`, and checks everything else about these calls.

`Any` passes as `LiteralString`, also as a part of an expression. So the sources are copied as well, with `object` for
`Any`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDERS = ("RestoreChunk", "shared", "tools", "benchmarks")

_SENDS = "execute|executemany|execute_values|execute_batch|copy_expert|copy_from|copy_to|mogrify|callproc"
_USES_SQL = re.compile(rf"\bpsycopg2\b|\.({_SENDS})\b|\bSQL\(")

_STUBS = {"_psycopg.pyi", "extras.pyi", "sql.pyi"}
_STATEMENT = re.compile(r"\b(query|sql|string|joiner|procname|table)(: str( \| \w+)*)?(?=[,)])")
_ANY = re.compile(r"\bAny\b")

# Unknown passes as LiteralString, and so does the Any of a library.
_RULES = ("reportArgumentType", "reportAny", "reportUnknownArgumentType", "reportUnknownMemberType")
_IS_OURS = re.compile(
    r'"LiteralString|parameter "(query|sql|string|joiner|procname|table)" in function '
    rf'"({_SENDS}|__init__|join)"|Type of "({_SENDS})" is '
)


def check(root: Path) -> Iterator[str]:
    """Find where other text than the program's own could become SQL.

    Args:
        root: the folder that holds FOLDERS.

    Yields:
        Messages as compilers write them.
    """
    with TemporaryDirectory() as name:
        work = Path(name).resolve()
        _write_stubs(work / "stubs" / "psycopg2")
        sending = []
        for path in (path for folder in FOLDERS for path in (root / folder).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            _write(work / path.relative_to(root), _without_any(text))
            sending += [str(path.relative_to(root))] if _USES_SQL.search(text) else []
        config = {
            "include": sending,
            "stubPath": "stubs",
            "pythonVersion": "3.10",
            "useLibraryCodeForTypes": False,  # or it takes four times as long
            "typeCheckingMode": "off",
            "enableTypeIgnoreComments": False,  # they are mypy's
        }
        _write(work / "pyrightconfig.json", json.dumps(config | dict.fromkeys(_RULES, "error")))
        command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
        done = subprocess.run([*command, "--project", name], stdout=subprocess.PIPE, check=False)
        for found in json.loads(done.stdout)["generalDiagnostics"]:
            if _IS_OURS.search(found["message"]):
                path, line = Path(found["file"]).relative_to(work), found["range"]["start"]["line"] + 1
                yield f"{path}:{line}: {found['message']}"


def _write_stubs(folder: Path) -> None:
    for file in distribution("types-psycopg2").files or ():
        if file.suffix == ".pyi":
            text = file.read_text(encoding="utf-8")
            if file.name in _STUBS:
                text = _STATEMENT.sub(r"\1: LiteralString | Composable", _without_any(text))
                text = f"from typing_extensions import LiteralString\n{text}"
            _write(folder / file.name, text)


def _without_any(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line if line.startswith("from typing ") else _ANY.sub("object", line) for line in lines)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(root: Path = Path()) -> int:
    """Check the project's own sources, and print what is wrong with them."""
    faults = list(check(root))
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
