r"""Hints for a row or a table that the database refused, by the SQLSTATE, the request and the file.

The server's text affects only the hint. A value in it is compared with the texts that programs write for NULL, in any
language; the hint repeats only such a text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from shared.csvfile.format_hints import delimiter_hint, escapes_by_backslash
from shared.csvfile.head import ENCODING_HINT, read_records
from shared.csvfile.options import CsvOptions
from shared.csvfile.source import CsvSource
from shared.errors import CsvOptionRejected, DataRejected, Fault, HeaderInvalid, OperationNotSupported
from shared.load.day import Day
from shared.load.refusals import PARTITION_HINT, STAGING_HINT, columns_without_value
from shared.load.target.target import Target
from shared.model.request import Copy, RestoreRequest
from shared.postgres.sqlstate import server_error, sqlstate_of, translated

_BAD_COPY_FILE = "22P04"
_OF_ENCODING = ("22021", "22P05")  # character_not_in_repertoire, untranslatable_character
_UNTRANSLATABLE, _UNDEFINED_FUNCTION = "22P05", "42883"
_OF_VALUE = ("22P02", "22007", "22008")  # invalid_text_representation, invalid_datetime_format, ..._overflow
_NOT_NULL, _CHECK = "23502", "23514"
_NOT_SUPPORTED = "0A000"

# TimescaleDB's functions that find the chunk of a row (2.19.3; 2.28.3 and 2.29.2). Their 0A000 is for tiered chunks.
_ROUTES_TO_CHUNK = ("ts_chunk_dispatch_get_chunk_insert_state", "ts_chunk_tuple_routing_find_chunk")

# What programs write for NULL. All of it is shown in a hint, so no value of a row may be among it.
_NULL_WORDS = (r"\N", "NULL", "null", "Null", "None", "nil", "NaN", "nan", "NA", "N/A", "n/a", "#N/A", "-", "?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# Around a value in the context of an error, depending on the server's language.
_MARKS = " \u00a0\u202f\"'`\u00ab\u00bb\u2039\u203a\u2018\u2019\u201a\u201c\u201d\u201e\u300c\u300d"


@contextmanager
def advised(day: Day, target: Target) -> Iterator[None]:
    """Add a fitting hint to the database's refusals in the body.

    Args:
        day: what is loaded.
        target: where the rows go.

    Raises:
        RestoreError: that of the body.
    """
    try:
        with translated():
            yield
    except DataRejected as exc:
        if (unknown := _conversion_unknown(exc, day.request.copy_.csv_options.encoding)) is not None:
            raise unknown from exc
        advise_on_row(exc, day, target)
        raise
    except OperationNotSupported as exc:
        exc.hint = _on_table(exc, day.request, target) or exc.hint
        raise


def advise_on_row(error: DataRejected, day: Day, target: Target) -> None:
    """Add a fitting hint to the error of a row. Arguments as of `advised`."""
    sqlstate, copy = sqlstate_of(error), day.request.copy_
    column = next((str(fact) for name, fact in error.details[0].info if name == "column"), None)
    hint: str | None = None
    if sqlstate == _NOT_NULL and column is not None and column in target.columns.defaulted:
        # It is the same in every row.
        known = columns_without_value([column], copy)
        if known is not None:
            error.message, error.target, hint = known.message, known.target, known.hint
    elif sqlstate == _CHECK and _has_no_partition(error):
        hint = f"{PARTITION_HINT}; if the target is a partition itself, name its table in destination.target_table"
    elif sqlstate in _OF_ENCODING and column is None:
        hint = f"the file is not in copy.csv_options.ENCODING {copy.csv_options.encoding}: {ENCODING_HINT}"
        stored_in = _database_encoding(error)
        if sqlstate == _UNTRANSLATABLE and stored_in not in (None, "UTF8"):
            hint = f"the database is in {stored_in}, which lacks the character: change it in the file; or {hint}"
    elif sqlstate in _OF_VALUE and column is not None:
        hint = _on_value(error, column, copy.csv_options)
    if hint is None and sqlstate in (_BAD_COPY_FILE, *_OF_VALUE):
        hint = _on_quotes(day.csv, copy.csv_options)
        if hint is None and len(target.columns.file_columns) > 1:
            # The first value is read before the second one is missed.
            hint = _on_delimiter(day.csv, copy)
    error.hint = hint or error.hint


def _conversion_unknown(error: DataRejected, encoding: str) -> CsvOptionRejected | None:
    """Return the error of a file's encoding that PostgreSQL does not convert to the database's (BeginCopyFrom)."""
    cause = server_error(error)
    if cause is None or cause.diag.source_file != "copyfrom.c":
        return None
    if sqlstate_of(error) != _UNDEFINED_FUNCTION:
        return None
    stored_in = _database_encoding(error)
    message = f"the server does not convert {encoding} to {stored_in}, in which the database is"
    hint = f"convert the file to UTF-8 or {stored_in}, and name that in copy.csv_options.ENCODING"
    return CsvOptionRejected(
        message,
        target="copy.csv_options.ENCODING",
        hint=hint,
        details=[Fault(CsvOptionRejected.code, message, info=(("sqlstate", _UNDEFINED_FUNCTION),))],
    )


def _database_encoding(error: DataRejected) -> str | None:
    """Return the encoding of the database that refused a row."""
    cause = server_error(error)
    cursor = None if cause is None else cause.cursor
    return None if cursor is None else cursor.connection.info.parameter_status("server_encoding")


def _has_no_partition(error: DataRejected) -> bool:
    """Whether no partition accepts the row. For a violated constraint, PostgreSQL names it (ExecFindPartition)."""
    cause = server_error(error)
    return cause is not None and cause.diag.constraint_name is None and bool(cause.diag.table_name)


def _on_quotes(csv: CsvSource, options: CsvOptions) -> str | None:
    if options.escape is not None or not escapes_by_backslash(csv.head, options.dialect):
        return None
    return (
        "the file seems to write a backslash before a quote inside quotes, as Spark and Data Factory do:"
        ' set copy.csv_options.ESCAPE to "\\\\"'
    )


def _on_delimiter(csv: CsvSource, copy: Copy) -> str | None:
    with suppress(HeaderInvalid):
        for fields in read_records(csv.head, copy.csv_options.dialect, 2):
            if (hint := delimiter_hint(fields, copy.csv_options.dialect)) is not None:
                return hint
    return None


def _on_value(error: DataRejected, column: str, options: CsvOptions) -> str | None:
    """Name the option by which the value would be NULL, if it looks like one."""
    value, name = _value(error, column), json.dumps(column)
    if value is None:
        return None
    if _DECIMAL_COMMA.fullmatch(value):
        return "COPY reads no decimal comma: write the numbers with a point, or load them into a column of type text"
    if value.strip(" ") and value not in _NULL_WORDS:
        return None
    what = json.dumps(value) if value else "an empty field"
    if value != options.null:
        return f"if {what} stands for NULL in this file, set copy.csv_options.NULL to {json.dumps(value)}"
    if options.force_not_null == ("*",) or column in options.force_not_null:
        return f"FORCE_NOT_NULL keeps {what} from being NULL: take {name} out of it"
    return f'{what} in quotes is text and not NULL: copy.csv_options.FORCE_NULL [{name}], or "*", reads it as NULL'


def _value(error: DataRejected, column: str) -> str | None:
    """Return the value that the context of an error of COPY ends with; None if it has none.

    `COPY t, line 3, column v: "x"` (CopyFromErrorCallback in copyfrom.c), in the server's language.
    """
    cause = server_error(error)
    context = (cause and cause.diag.context) or ""
    found = re.search(rf"^COPY .*?\d.*?{re.escape(column)}\s?[:\uff1a](.*)$", context, re.MULTILINE)
    if found is None:
        return None
    value = found[1].strip(_MARKS)
    blanks = re.search('"( +)"', found[1])
    return value if value or blanks is None else blanks[1]


def _on_table(error: OperationNotSupported, request: RestoreRequest, target: Target) -> str | None:
    sqlstate, is_direct = sqlstate_of(error), request.destination.is_direct
    cause = server_error(error)
    if cause is not None and cause.diag.source_function in _ROUTES_TO_CHUNK:
        return (
            "the day lies in the range of the hypertable's tiered chunks, which take no rows: bring the chunk back with"
            " untier_chunk(), then send the request again"
        )
    if not is_direct and sqlstate == _NOT_SUPPORTED:
        return 'if the table has rules on INSERT, use destination.mode "direct": COPY does not apply them'
    if is_direct and not target.columns.by_staging and sqlstate == _NOT_SUPPORTED:
        return STAGING_HINT
    return None
