"""What may go binary, and what speaks against it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.binary.eligibility import FEWEST_BYTES, kind_of, reason_for_text
from shared.csvfile.options import CsvOptions
from shared.timescale.table import Column
from tests.binary_values import TYPES, column_of

MARKER = "the DELIMITER is a backslash or a full stop, or the QUOTE a backslash"
COLUMNS = [column_of("timestamp with time zone", "time"), column_of("double precision", "value")]


@pytest.mark.parametrize("type_sql", TYPES)
def test_types_that_were_proved(type_sql: str) -> None:
    assert kind_of(column_of(type_sql)) is not None


@pytest.mark.parametrize(
    "type_sql",
    [
        "integer[]",
        "interval",
        "time without time zone",
        '"char"',
        "citext",
        "bytea",
        "inet",
        "money",
        "oid",
        "bit(3)",
        "mood",
        "numeric",
        "numeric(39,3)",
        "numeric(3,4)",
        "numeric(3,-4)",
    ],
)
def test_types_that_were_not(type_sql: str) -> None:
    assert kind_of(column_of(type_sql)) is None


def test_nothing_speaks_against_it() -> None:
    options = CsvOptions(delimiter=";", quote="'", escape="\\", null="NULL", encoding="utf-8", force_null=("*",))
    assert reason_for_text(COLUMNS, options, server_encoding="UTF8", csv_bytes=FEWEST_BYTES) is None


@pytest.mark.parametrize(
    ("columns", "options", "server", "size", "reason"),
    [
        ([*COLUMNS, column_of("interval", "span")], CsvOptions(), "UTF8", None, '"span" is of type interval'),
        ([Column("id", "uuid", type_oid=16384), *COLUMNS], CsvOptions(), "UTF8", None, '"id" is of type uuid'),
        (COLUMNS[:1], CsvOptions(), "UTF8", None, "the file has only one column"),
        (COLUMNS, CsvOptions(encoding="LATIN1"), "UTF8", None, "the encoding LATIN1 is not UTF8"),
        (COLUMNS, CsvOptions(), "SQL_ASCII", None, "the encoding SQL_ASCII is not UTF8"),
        (COLUMNS, CsvOptions(default="D"), "UTF8", None, "DEFAULT is given"),
        (COLUMNS, CsvOptions(delimiter="."), "UTF8", None, MARKER),
        (COLUMNS, CsvOptions(delimiter="\\"), "UTF8", None, MARKER),
        (COLUMNS, CsvOptions(quote="\\"), "UTF8", None, MARKER),
        (COLUMNS, CsvOptions(null="x" * 1025), "UTF8", None, "the NULL marker is very long"),
        (COLUMNS, CsvOptions(), "UTF8", FEWEST_BYTES - 1, "the file is small"),
    ],
)
def test_what_speaks_against_it(
    columns: list[Column], options: CsvOptions, server: str, size: int | None, reason: str
) -> None:
    assert reason_for_text(columns, options, server_encoding=server, csv_bytes=size) == reason


def asked_without(library: str, code: str, tmp_path: Path) -> str:
    """Run Python with all packages but one."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for folder in map(Path, sys.path):
        for entry in folder.iterdir() if folder.name == "site-packages" else ():
            if not entry.name.startswith(library) and not (packages / entry.name).exists():
                (packages / entry.name).symlink_to(entry)
    root = Path(__file__).resolve().parents[3]
    return subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{packages}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize("library", ["pyarrow", "pgpq"])
def test_without_a_library_the_text_way_is_left(tmp_path: Path, library: str) -> None:
    code = (
        "from shared.binary.eligibility import reason_for_text; from shared.csvfile.options import CsvOptions\n"
        "print(reason_for_text([], CsvOptions(), server_encoding='UTF8'))"
    )
    assert asked_without(library, code, tmp_path) == f"{library} is not installed\n"


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = "import RestoreChunk, sys; print({'pyarrow', 'pgpq', 'numpy'} & set(sys.modules))"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "set()\n"
