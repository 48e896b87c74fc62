"""Translates SQLSTATEs to our errors. Only this module does so. Message texts never decide which error it is.

The codes are those of PostgreSQL's manual, appendix A.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import psycopg2
from psycopg2 import errorcodes

from shared.errors import (
    CsvOptionRejected,
    DatabaseAccessDenied,
    DatabaseDiskFull,
    DatabaseFailed,
    DatabaseNotFound,
    DatabasePermissionDenied,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DataRejected,
    Fault,
    OperationNotSupported,
    RestoreCanceled,
    RestoreError,
    StagingTypeMismatch,
    StatementCanceled,
    TableNotFound,
    TargetLocked,
    TooManyConnections,
    UnknownColumn,
)
from shared.postgres.limited_cursor import limit_reached, sqlstate_of_end
from shared.secret import redact_from_server

# Errors that another way of loading would not avoid. They are raised at once.
INTERRUPTIONS = (DatabaseUnreachable, RestoreCanceled, StatementCanceled)

_QUERY_CANCELED = "57014"

# With these the server ends a session for a setting of its own. A restore sets both for its own transactions.
_SESSION_TIMEOUTS = {
    "25P03": (
        "idle_in_transaction_session_timeout",
        "raise the app setting PG_STATEMENT_TIMEOUT_SECONDS, which sets it for a restore; then try again",
    ),
    "25P04": (
        "transaction_timeout",
        "a restore switches it off for itself: look for a function or trigger that sets it, then try again",
    ),
}

# A code of five characters takes precedence over its class of two.
_ERRORS: dict[str, type[RestoreError]] = {
    "08": DatabaseUnreachable,  # connection exception
    "0A": OperationNotSupported,  # feature_not_supported
    "22": DataRejected,  # data exception
    "23": DataRejected,  # integrity constraint violation
    "25006": DatabaseReadOnly,  # read_only_sql_transaction
    "28": DatabaseAccessDenied,  # invalid authorization specification
    "3D": DatabaseNotFound,  # invalid catalog name
    "3F": TableNotFound,  # invalid schema name
    "40": TargetLocked,  # transaction rollback: deadlock, serialization failure
    "42501": DatabasePermissionDenied,  # insufficient_privilege
    "42601": CsvOptionRejected,  # syntax_error: our SQL is constant, so an option that this server does not know
    "42804": StagingTypeMismatch,  # datatype_mismatch: the INSERT from staging
    "42703": UnknownColumn,  # undefined_column
    "42P01": TableNotFound,  # undefined_table
    "53300": TooManyConnections,  # too_many_connections
    "53": DatabaseDiskFull,  # insufficient resources
    "54": DataRejected,  # program limit exceeded: a value too long for an index, a row too long
    "55000": OperationNotSupported,  # object_not_in_prerequisite_state: a deferrable constraint and ON CONFLICT
    "55P03": TargetLocked,  # lock_not_available
    "57": DatabaseUnreachable,  # operator intervention: shutdown, crash, starting up, terminated
    "P0001": DataRejected,  # raise_exception: a trigger of the user's refuses a row
}

# Hints for codes to which the hint of the error's class does not fit.
_HINTS = {
    "40001": "another session changed rows of the day in the meantime: try again",
    "40P01": "the restore and another session waited for each other: try again; the server's log names the other",
    "53200": (
        "the server is out of memory: run fewer restores at once, or lower PG_INDEX_MEMORY_MIB; if its log says shared"
        " memory, raise max_locks_per_transaction"
    ),
    "53400": "a limit of the server's configuration is reached, such as temp_file_limit: raise it, then try again",
}

# Internal error, system error, foreign data, configuration file: a row is never the cause.
_SERVERS_OWN = ("XX", "58", "F0", "HV")

# Broken connections, deadlocks, no space, no lock, canceled, shut down: the line would only be the one that happened to
# be read at that moment.
_OF_NO_ROW = ("08", "40", "53", "55P03", "57")

# Syntax errors, and names that do not exist.
_OF_NAMES = ("42", "3F")
# unique_violation, exclusion_violation
_CONFLICTS = ("23505", "23P01")

CONFLICT_HINT = (
    "rows of the archive are already in the table, or are in the archive twice;"
    ' use destination.mode "staging" to skip them'
)

_FUNCTION_HINT = (
    "a trigger or another function of the table raised the error: correct that function; names without a schema in it"
    " are looked up by the role's search_path; with the setting SHOW_ROW_DATA the server's own message is shown"
)

# PostgreSQL's messages for these name objects and reasons, but no values of a row.
_WITHOUT_VALUES = (
    *("23", "25", "40", "53", "57"),
    errorcodes.BAD_COPY_FILE_FORMAT,
    errorcodes.INSUFFICIENT_PRIVILEGE,
    errorcodes.DATATYPE_MISMATCH,
)
# So do these, as long as no value is read: `cross-database references are not implemented: "a.b.c"` (0A000) quotes one
# that is read as a table's name, `value is too big in tsquery: "..."` (54000) any.
_OF_STATEMENTS = ("08", "0A", "28", "3D", "54", "55", *_SERVERS_OWN)
# The server's source files that refuse an INSERT for the table's rules and keys, before they read a row.
_BEFORE_ROWS = ("rewriteHandler.c", "plancat.c", "execIndexing.c")


def error_for_sqlstate(sqlstate: str, message: str, facts: dict[str, Any] | None = None) -> RestoreError:
    """Return the error for a SQLSTATE. Its detail holds the SQLSTATE and the other facts."""
    kind = _ERRORS.get(sqlstate) or _ERRORS.get(sqlstate[:2]) or DatabaseFailed
    known = {"sqlstate": sqlstate} | (facts or {})
    return kind(message, hint=_HINTS.get(sqlstate), details=[Fault(kind.code, message, info=tuple(known.items()))])


def database_error(exc: psycopg2.Error) -> RestoreError:
    """Translate an exception of psycopg2. One without a SQLSTATE comes from the client: the connection broke."""
    sqlstate = sqlstate_of_end(exc)
    if sqlstate is None:
        return DatabaseUnreachable("the connection to the database server broke")
    if sqlstate == _QUERY_CANCELED:
        return _canceled(exc)
    if sqlstate in _SESSION_TIMEOUTS:
        return _timed_out(sqlstate)
    if exc.pgcode is None:
        return error_for_sqlstate(sqlstate, f"the database server ended the connection: {name_of(sqlstate)}")
    return error_for_sqlstate(sqlstate, message_without_rows(exc))


def _canceled(exc: psycopg2.Error) -> RestoreError:
    """Tell a timeout from a cancel by how long the statement ran: the server's message is in its own language."""
    limit = limit_reached(exc)
    known = (("sqlstate", _QUERY_CANCELED),)
    if limit is not None:
        message = f"a statement ran for {limit:g} s, the most that it may"
        return StatementCanceled(message, details=[Fault(StatementCanceled.code, message, info=known)])
    message = "a statement of the restore was canceled on the database server"
    detail = Fault(RestoreCanceled.code, message, info=known)
    return RestoreCanceled(f"{message}; nothing was changed", details=[detail])


def _timed_out(sqlstate: str) -> RestoreError:
    setting, hint = _SESSION_TIMEOUTS[sqlstate]
    message = f"the server's {setting} ended the session"
    detail = Fault(StatementCanceled.code, message, info=(("sqlstate", sqlstate),))
    return StatementCanceled(message, hint=hint, details=[detail])


@dataclass(frozen=True)
class RowErrors:
    """What an error that names a row shows.

    Attributes:
        show_row_data: whether it may hold values of the row: PostgreSQL's own message, DETAIL and CONTEXT.
        lines_before: lines of the file that precede those that PostgreSQL is sent, and counts.
        shown_as: the name that a message has instead of the table's; None: the same. The caller does not know the name
            of a staging table.
    """

    show_row_data: bool = False
    lines_before: int = 0
    shown_as: str | None = None


@dataclass(frozen=True)
class CopiedRows:
    """The rows that a statement takes, for the error that names one of them.

    Attributes:
        relation: the table that they go into, without its schema.
        columns: the columns that are copied.
        errors: what the error shows.
        refusals: our message for each C function of the server that refuses a value by a SQLSTATE that otherwise stands
            for something else, and names the value in its own message.
        by_insert: whether an INSERT brings them. Of a value that it cannot read the server gives no place.
    """

    relation: str
    columns: Sequence[str]
    errors: RowErrors = RowErrors()
    refusals: Mapping[str, str] = field(default_factory=dict)
    by_insert: bool = False


def row_error(exc: psycopg2.Error, rows: CopiedRows) -> RestoreError:
    """Translate an error of a COPY or INSERT, with the CSV line and the column if PostgreSQL names them.

    Returns:
        The error. If a row is the cause, its detail holds `line` (line 1 is the first of the file, its header) and
        `column`.
    """
    sqlstate = exc.pgcode
    if sqlstate is None or sqlstate in (_QUERY_CANCELED, *_SESSION_TIMEOUTS):
        return database_error(exc)
    line, column = _line_and_column(exc, sqlstate, rows)
    refusal = rows.refusals.get(exc.diag.source_function or "")
    message, is_hidden = _shown_message(exc, rows, refusal)
    error = error_for_sqlstate(sqlstate, message, _shown_facts(exc, rows, line, column))
    # "No such table" caused by a value that is read as a table's name, or by a statement of a trigger. COPY names a
    # column only if it reads a value.
    is_of_names = sqlstate.startswith(_OF_NAMES) and sqlstate != errorcodes.INSUFFICIENT_PRIVILEGE
    is_of_a_statement = is_of_names and _is_of_a_function(exc)
    is_of_a_value = (is_of_names and line is not None) or (column is not None and sqlstate.startswith("0A"))
    # A trigger or function of the user raised a SQLSTATE of its own.
    is_of_a_function = isinstance(error, DatabaseFailed) and not sqlstate.startswith(_SERVERS_OWN)
    if is_of_a_function or is_of_a_statement or is_of_a_value or refusal is not None:
        error = DataRejected(message, details=[Fault(DataRejected.code, message, info=error.details[0].info)])
    if isinstance(error, DataRejected):
        if sqlstate == errorcodes.UNIQUE_VIOLATION:
            error.hint = CONFLICT_HINT
        elif is_of_a_statement:
            error.hint = _FUNCTION_HINT
        elif is_hidden:
            error.hint = f"{error.default_hint}; with the setting SHOW_ROW_DATA the server's own message is shown"
        _name_place(error, message, line, column)
    elif is_hidden and isinstance(error, OperationNotSupported):
        error.hint = "the server's own message may hold a value, so it is shown only with the setting SHOW_ROW_DATA"
    return error


def _line_and_column(exc: psycopg2.Error, sqlstate: str, rows: CopiedRows) -> tuple[int | None, str | None]:
    """Return the line of the file and the column that an error is about."""
    line, column = None, None
    if not sqlstate.startswith(_OF_NO_ROW):
        line, column = place_in_file(exc.diag.context or "", rows.relation, rows.columns)
    if line is not None:
        line += rows.errors.lines_before
    # RAISE ... USING COLUMN = NEW.v: a function says what it likes.
    named = None if _is_of_a_function(exc) else exc.diag.column_name
    return line, named or column


def _shown_message(exc: psycopg2.Error, rows: CopiedRows, refusal: str | None) -> tuple[str, bool]:
    """Return the message for the caller, and whether it hides the server's own."""
    message = refusal or message_without_rows(exc, reads_values=rows.by_insert)
    is_hidden = message != exc.diag.message_primary
    if rows.errors.show_row_data:
        message, is_hidden = redact_from_server(exc.diag.message_primary or message), False
    return message.replace(rows.relation, rows.errors.shown_as or rows.relation), is_hidden


def _shown_facts(exc: psycopg2.Error, rows: CopiedRows, line: int | None, column: str | None) -> dict[str, Any]:
    """Return the facts that are shown beside the message."""
    constraint = None if _is_of_a_function(exc) else exc.diag.constraint_name
    facts: dict[str, Any] = {"line": line, "column": column, "constraint": constraint}
    if rows.errors.show_row_data:
        said = {"server_detail": exc.diag.message_detail, "server_context": exc.diag.context}
        facts |= {name: None if text is None else redact_from_server(text) for name, text in said.items()}
    return {name: fact for name, fact in facts.items() if fact is not None}


def at_line(error: DataRejected, line: int) -> DataRejected:
    """Add the line of the CSV to the error of a row, where PostgreSQL named none, or one of a part of the file."""
    fault = error.details[0]
    facts = {"line": line, **{name: fact for name, fact in fault.info if name != "line"}}
    error.details = (replace(fault, info=tuple(facts.items())), *error.details[1:])
    _name_place(error, fault.message, line, facts.get("column"))
    return error


def _name_place(error: DataRejected, message: str, line: int | None, column: str | None) -> None:
    where = "" if line is None else f"line {line}" + ("" if column is None else f", column {column}")
    error.message = f"{where}: {message}" if where else message
    error.target = where or None


@contextmanager
def translated(
    rows: CopiedRows | None = None, *, cause: Callable[[], BaseException | None] = lambda: None
) -> Iterator[None]:
    """Raise our own errors for those of psycopg2. The one place that does so for what ends a restore.

    A step that may fail keeps its error instead: in a savepoint (savepoint.py), or in autocommit (optional_step.py).

    Args:
        rows: the rows that the statements in the body take; None: they take none.
        cause: returns what really ended a COPY, or None. psycopg2 replaces it by its own "COPY from stdin failed".

    Raises:
        RestoreError: as `database_error`, or as `row_error`.
    """
    try:
        yield
    except psycopg2.Error as exc:
        if (ended_by := cause()) is not None:
            try:
                raise ended_by from exc
            finally:
                # Else the error would keep this frame, and the frame the error.
                del ended_by
        if rows is None:
            raise database_error(exc) from exc
        raise row_error(exc, rows) from exc


def server_error(error: RestoreError) -> psycopg2.Error | None:
    """Return what psycopg2 raised, where `translated` made an error of ours from it."""
    cause = error.__cause__
    return cause if isinstance(cause, psycopg2.Error) else None


def sqlstate_of(error: RestoreError) -> str | None:
    """Return the SQLSTATE that the error holds."""
    return next((value for fault in error.details for name, value in fault.info if name == "sqlstate"), None)


def names_a_line(error: RestoreError) -> bool:
    """Whether the error names a line of the CSV."""
    return any(name == "line" for fault in error.details for name, _ in fault.info)


def lacks_a_line(error: DataRejected) -> bool:
    """Whether the server refused a row without naming its line."""
    return server_error(error) is not None and not names_a_line(error)


def as_refused_row(error: RestoreError) -> DataRejected | None:
    """Return the error if the database refused a row."""
    return error if isinstance(error, DataRejected) else None


def is_conflict(error: RestoreError) -> bool:
    """Whether the database refused a row because of another row: a duplicate key, or an exclusion."""
    return sqlstate_of(error) in _CONFLICTS


def is_of_foreign_key(error: RestoreError) -> bool:
    """Whether a row refers to one that is not there. It is checked when all rows are in, so no way names a line."""
    cause = server_error(error)
    return cause is not None and cause.pgcode == errorcodes.FOREIGN_KEY_VIOLATION


class ViolatedConstraint(NamedTuple):
    """The constraint that the server names in an error of class 23.

    Attributes:
        sqlstate: the error's.
        schema: of the table.
        table: of the table, chunk or partition, that has the constraint.
        constraint: its name; None for NOT NULL.
    """

    sqlstate: str
    schema: str
    table: str
    constraint: str | None


def violated_constraint(error: RestoreError) -> ViolatedConstraint | None:
    """Return the constraint that a row violates; None if the error is another one."""
    cause = server_error(error)
    if cause is None or cause.pgcode is None or not cause.pgcode.startswith("23"):
        return None
    schema, table = cause.diag.schema_name, cause.diag.table_name
    if schema is None or table is None:
        return None
    return ViolatedConstraint(cause.pgcode, schema, table, cause.diag.constraint_name)


def message_without_rows(exc: psycopg2.Error, *, reads_values: bool = False) -> str:
    """Return the server's message if it surely holds no value of a row; otherwise the name of its SQLSTATE.

    The text itself cannot decide that, since it is in the server's language. Messages of some SQLSTATEs never hold a
    value. Others repeat the value that is wrong (classes 22 and 42, where a value is read as a number or as the name
    of a table). An error that a user's function raises, or that a statement in it causes, may hold anything. DETAIL and
    CONTEXT are never included, but that there is a CONTEXT tells that a row of a COPY or a function was under way.

    Args:
        exc: what psycopg2 raised.
        reads_values: whether the statement may read values of rows without a CONTEXT that says so.
    """
    sqlstate, source = exc.pgcode or "", exc.diag.source_file or ""
    is_before_rows = not exc.diag.context and (not reads_values or source in _BEFORE_ROWS)
    is_plain = sqlstate.startswith(_WITHOUT_VALUES) or (is_before_rows and sqlstate.startswith(_OF_STATEMENTS))
    if exc.diag.message_primary and not _is_of_a_function(exc) and is_plain:
        return redact_from_server(exc.diag.message_primary)
    return name_of(sqlstate) or "a function of the database refused the row"


def _is_of_a_function(exc: psycopg2.Error) -> bool:
    """Whether a procedural language, or a statement in a function, made the error."""
    return (exc.diag.source_file or "").startswith("pl") or exc.diag.internal_query is not None


def name_of(sqlstate: str) -> str | None:
    """Return the name of a SQLSTATE in PostgreSQL's manual, such as "invalid text representation"."""
    try:
        return str(errorcodes.lookup(sqlstate)).lower().replace("_", " ")
    except KeyError:
        return None


def place_in_file(context: str, relation: str, columns: Sequence[str]) -> tuple[int | None, str | None]:
    """Read line and column from `COPY <relation>, line 3, column v: "abc"`, in any language.

    PostgreSQL reports them nowhere else (CopyFromErrorCallback in copyfrom.c). Every translation keeps the order:
    relation, line, column, a colon (a full-width one in Chinese).
    """
    found = re.search(rf"COPY\s+{re.escape(relation)}\D*?(\d+)", context)
    if found is None:
        return None, None
    rest = context[found.end() :]
    named = [name for name in columns if re.match(rf"(?:\W+\w+){{1,2}}?\W+?{re.escape(name)}\s?[:\uff1a,]", rest)]
    return int(found.group(1)), max(named, key=len, default=None)
