"""What is wrong with the server, the table or the rows."""

from __future__ import annotations

from shared.errors.base import RestoreError


class DatabaseError(RestoreError):
    """The database refused, or could not be reached. The transaction was rolled back."""


class DatabaseUnreachable(DatabaseError):
    """No connection, or it broke; the server starts, stops or has no free slot."""

    code = "DatabaseUnreachable"
    status = 503
    retryable = True
    default_target = "pg"
    default_hint = (
        "try again; if it stays, check pg.host, pg.port, the firewall and the server's state; where the message speaks"
        " of SSL, a certificate or authentication, check pg.sslmode, PGSSLROOTCERT and PGREQUIREAUTH"
    )


class DatabaseAccessDenied(DatabaseError):
    """Wrong user or password, or the server does not let this client in."""

    code = "DatabaseAccessDenied"
    status = 403
    default_target = "pg"
    default_hint = "check pg.user and pg.password (or PGUSER and PGPASSWORD) and the server's pg_hba rules"


class DatabasePermissionDenied(DatabaseError):
    """The role may connect but lacks a right that the restore needs."""

    code = "DatabasePermissionDenied"
    status = 403
    default_target = "pg.user"
    default_hint = "docs/security.md lists the rights that a restore takes, as SQL"


class ConnectionOptionRejected(DatabaseError):
    """The server refused a setting that the connection names (`options` of a URI, PGOPTIONS)."""

    code = "ConnectionOptionRejected"
    status = 400
    default_target = "pg.connection_uri"
    default_hint = "correct or remove options in pg.connection_uri, or the app setting PGOPTIONS"


class DatabaseNotFound(DatabaseError):
    """The server has no such database."""

    code = "DatabaseNotFound"
    status = 404
    default_target = "pg.database"
    default_hint = "the database is taken from the archive's path; name another one in pg.database"


class DatabaseInRestoreMode(DatabaseError):
    """`timescaledb.restoring` is on for the session: rows copied now would vanish."""

    code = "DatabaseInRestoreMode"
    status = 409
    default_target = "pg.database"
    default_hint = "a pg_restore is running or was left half done: run SELECT timescaledb_post_restore() after it"


class TableNotFound(DatabaseError):
    """The target, or the table that staging is made like, does not exist."""

    code = "TableNotFound"
    status = 404
    default_target = "destination.target_table"
    default_hint = "names are taken as they are written, upper and lower case included"


class TargetNotATable(DatabaseError):
    """The target is a view, a sequence or something else that rows are not copied into."""

    code = "TargetNotATable"
    status = 422
    default_target = "destination.target_table"


class UnknownColumn(DatabaseError):
    """The request or the header names a column that is not there."""

    code = "UnknownColumn"
    status = 422
    default_hint = "rename it with copy.column_map, or use destination.mode staging, which leaves it out"


class DataRejected(DatabaseError):
    """PostgreSQL refused a row."""

    code = "DataRejected"
    status = 422
    default_hint = "correct the row at the line that details names; nothing was loaded"


class StagingTypeMismatch(DatabaseError):
    """A column of `create_staging_like` has a type that PostgreSQL does not assign to the target's."""

    code = "StagingTypeMismatch"
    status = 422
    default_target = "destination.create_staging_like"
    default_hint = "give that table's columns the target's types, or leave create_staging_like out"


class TooManyRejectedRows(DatabaseError):
    """More rows than `copy.max_rejected_rows` could not be parsed."""

    code = "TooManyRejectedRows"
    status = 422
    default_target = "copy.max_rejected_rows"
    default_hint = "details name the first lines; correct them, or allow more"


class OnErrorNotSupported(DatabaseError):
    """`copy.on_error` "skip" takes PostgreSQL 17 or newer."""

    code = "OnErrorNotSupported"
    status = 400
    default_target = "copy.on_error"
    default_hint = "send the request without on_error, and correct the rows that the answer names"


class WindowNotEmpty(DatabaseError):
    """The target already holds rows in the archive's day, and `destination.on_existing` is "error"."""

    code = "WindowNotEmpty"
    status = 409
    default_target = "destination.on_existing"
    default_hint = (
        'set destination.on_existing: "skip" leaves the day as it is, "replace" puts the archive in its place'
    )


class RowsOutsideWindow(DatabaseError):
    """The archive holds rows of another time than the day in its name."""

    code = "RowsOutsideWindow"
    status = 422
    default_target = "destination.rows_outside_window"
    default_hint = 'if they belong there, set destination.rows_outside_window to "allow"'


class WindowUnknown(DatabaseError):
    """The request needs the archive's day in the target, and the target has no time column to find it by."""

    code = "WindowUnknown"
    status = 422
    default_target = "destination.time_column"
    default_hint = 'name the time column in destination.time_column, or set destination.on_existing to "append"'


class VerificationFailed(DatabaseError):
    """The recount of the day does not show the rows that were loaded. Everything was rolled back."""

    code = "VerificationFailed"
    status = 422
    default_target = "verify"
    default_hint = "a trigger or a rule on the table drops, adds or moves rows; details hold the counts"


class RestoreInProgress(DatabaseError):
    """Another restore of the same day into the same table is running."""

    code = "RestoreInProgress"
    status = 409
    default_target = "destination.target_table"
    default_hint = "wait for it; it answers its own caller"


class CsvOptionRejected(DatabaseError):
    """This server does not take the csv options as they were given."""

    code = "CsvOptionRejected"
    status = 400
    default_target = "copy.csv_options"


class OperationNotSupported(DatabaseError):
    """PostgreSQL does not do this with such a table, for instance COPY where row-level security holds for the role."""

    code = "OperationNotSupported"
    status = 422
    default_target = "destination.target_table"
    default_hint = 'destination.mode "staging" inserts the rows, which works where COPY does not'


class TargetLocked(DatabaseError):
    """Another session holds a lock that the restore needs, or the two waited for each other."""

    code = "TargetLocked"
    status = 503
    retryable = True
    default_target = "destination.target_table"
    default_hint = "try again when the other session is done; pg_stat_activity names it"


class StatementCanceled(DatabaseError):
    """A statement was canceled by PG_STATEMENT_TIMEOUT_SECONDS or by an administrator."""

    code = "StatementCanceled"
    status = 503
    retryable = True
    default_target = "pg"
    default_hint = "raise the app setting PG_STATEMENT_TIMEOUT_SECONDS, or ask who canceled it; then try again"


class CommitOutcomeUnknown(DatabaseError):
    """The connection broke in the middle of the COMMIT: the day is there as a whole, or not at all."""

    code = "CommitOutcomeUnknown"
    status = 500
    default_target = "pg"
    default_hint = "count the day's rows in the table before the request is sent again"


class CaggNotFound(DatabaseError):
    """`timescaledb.refresh_caggs` names what is no continuous aggregate over the target. Never fails a restore."""

    code = "CaggNotFound"
    status = 404
    default_target = "timescaledb.refresh_caggs"


class DatabaseReadOnly(DatabaseError):
    """The server is a replica, or its transactions are read-only."""

    code = "DatabaseReadOnly"
    status = 409
    default_target = "pg.host"
    default_hint = "restore into the primary server"


class DatabaseDiskFull(DatabaseError):
    """The server's disk, or another of its resources, is used up."""

    code = "DatabaseDiskFull"
    status = 507
    default_target = "pg.host"
    default_hint = "free or add disk on the database server, then send the request again"


class DatabaseFailed(DatabaseError):
    """The server answered with an error that has no code of its own here; `details` holds its SQLSTATE."""

    code = "DatabaseFailed"
    status = 500
    default_hint = "the SQLSTATE in details and the server's own log say more"
