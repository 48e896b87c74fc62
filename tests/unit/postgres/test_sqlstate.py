from __future__ import annotations

import pytest

from shared.postgres.sqlstate import error_for_sqlstate, place_in_file


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("08006", "DatabaseUnreachable"),
        ("0A000", "OperationNotSupported"),
        ("22P02", "DataRejected"),
        ("23505", "DataRejected"),
        ("25006", "DatabaseReadOnly"),
        ("28P01", "DatabaseAccessDenied"),
        ("28000", "DatabaseAccessDenied"),
        ("3D000", "DatabaseNotFound"),
        ("3F000", "TableNotFound"),
        ("40P01", "TargetLocked"),
        ("42501", "DatabasePermissionDenied"),
        ("42601", "CsvOptionRejected"),
        ("42P01", "TableNotFound"),
        ("53100", "DatabaseDiskFull"),
        ("53300", "TooManyConnections"),
        ("55P03", "TargetLocked"),
        ("57P01", "DatabaseUnreachable"),
        ("57P03", "DatabaseUnreachable"),
        ("XX000", "DatabaseFailed"),
    ],
)
def test_each_sqlstate_has_its_code(sqlstate: str, code: str) -> None:
    error = error_for_sqlstate(sqlstate, "message")
    assert error.code == code
    assert dict(error.details[0].info)["sqlstate"] == sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "hint"),
    [
        ("40001", "another session changed rows"),
        ("40P01", "waited for each other"),
        ("53100", "free or add disk space"),
        ("53200", "max_locks_per_transaction"),
        ("53400", "temp_file_limit"),
        ("55P03", "when the other session is done"),
    ],
)
def test_a_hint_fits_the_sqlstate_and_not_only_its_code(sqlstate: str, hint: str) -> None:
    assert hint in str(error_for_sqlstate(sqlstate, "message").hint)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ('COPY t2024, line 3, column v: "abc"', (3, "v")),
        ("COPY t2024, Zeile 3, Spalte v: »abc«", (3, "v")),
        ('COPY t2024, 第 3 行, 列 v\uff1a"abc"', (3, "v")),
        ('COPY t2024, line 12: "1,2"', (12, None)),
        ("COPY t2024, line 3, column v: null input", (3, "v")),
        ('COPY t2024, line 3, column v w: "COPY t2024, line 99"', (3, "v w")),
        ("PL/pgSQL function f() line 7 at RAISE\nCOPY t2024, line 3", (3, None)),
        ("SQL statement", (None, None)),
        ("", (None, None)),
    ],
)
def test_line_and_column_in_any_language(context: str, expected: tuple[int | None, str | None]) -> None:
    assert place_in_file(context, "t2024", ["v", "v w", "w"]) == expected
