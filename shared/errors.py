"""Every way in which a restore can fail, as one tree. This package imports nothing else of ours.

    RestoreError
    |-- RequestError            the caller's JSON                       400 403 413
    |-- ArchiveError            the file in the lake                    403 404 409 422 503 507
    |-- DatabaseError           the server, the table, the rows         403 404 409 422 503 507
    |-- ConfigurationError      the function app's own settings         500
    `-- InternalError           our bug: the caller sees the id only    500

A code is stable: it is never renamed and never given another meaning. `docs/errors.md` lists all of them,
and a test keeps the list complete. Messages are lower case without a full stop; a hint says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One of several faults behind a single error.

    Attributes:
        code: stable PascalCase code.
        message: what is wrong, for a person.
        target: where: a path into the request (`copy.csv_options.QUOTE`), a column, a CSV line.
        info: further facts by name (`line`, `column`, `sqlstate`), JSON values only.
    """

    code: str
    message: str
    target: str | None = None
    info: tuple[tuple[str, Any], ...] = ()


class RestoreError(Exception):
    """A restore that did not happen. The target is as it was before.

    Args:
        message: what is wrong, for a person; no secret ever.
        target: the part of the request or of the archive that is meant.
        hint: what to do about it; the class's own hint where None.
        details: the single faults, where there are several or where they hold more.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str | None] = None
    default_target: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        target: str | None = None,
        hint: str | None = None,
        details: Sequence[Fault] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.target = target if target is not None else self.default_target
        self.hint = hint if hint is not None else self.default_hint
        self.details = tuple(details)


class ConfigurationError(RestoreError):
    """A setting of the function app is missing or cannot be read."""

    code = "InvalidConfiguration"
    status = 500
    default_hint = "correct the app setting that target names; docs/settings.md lists all of them"


class InternalError(RestoreError):
    """A bug of this project. The log holds the traceback under the request id; the caller sees only the id."""

    code = "InternalError"
    status = 500
    default_hint = "look for the request_id in the function's log"


class RequestError(RestoreError):
    """The request cannot be understood or asks for something that does not exist."""

    status = 400


class InvalidJson(RequestError):
    """The body is not a JSON object."""

    code = "InvalidJson"
    default_hint = "send one JSON object with the header Content-Type: application/json"


class InvalidRequest(RequestError):
    """One or more fields are wrong; `details` names every one of them."""

    code = "InvalidRequest"
    default_hint = "every fault is listed in details; docs/request.md describes each field"


class RequestTooLarge(RequestError):
    """The HTTP body is larger than any request has to be."""

    code = "RequestTooLarge"
    status = 413
    default_hint = "the rows come from the lake: the body holds only what docs/request.md describes"


class InvalidArchiveUrl(RequestError):
    """`adls_url` is not one of the known forms, or its path is not one of the two layouts."""

    code = "InvalidArchiveUrl"
    default_target = "adls_url"
    default_hint = (
        "use abfss://<filesystem>@<account>.dfs.core.windows.net/<path>/<database>/<schema>.<table>.<YYYY-MM-DD>.csv.gz"
    )


class StorageHostNotAllowed(RequestError):
    """The host of `adls_url` is not a storage endpoint that this function may send a token to."""

    code = "StorageHostNotAllowed"
    default_target = "adls_url"
    default_hint = (
        "the host must be <account>.dfs.core.windows.net, the same with .blob., or that of Azure Government or China"
    )


class NotAllowed(RequestError):
    """A setting of the function app lists what is allowed, and this is not on it. Nothing was connected to."""

    status = 403


class StorageAccountNotAllowed(NotAllowed):
    """The setting ADLS_ALLOWED_ACCOUNTS does not list the account, or not this file system of it."""

    code = "StorageAccountNotAllowed"
    default_target = "adls_url"
    default_hint = "ask an operator to add it to the setting ADLS_ALLOWED_ACCOUNTS"


class DatabaseHostNotAllowed(NotAllowed):
    """The host is not one that the function may connect to, or may show its own password or token."""

    code = "DatabaseHostNotAllowed"
    default_target = "pg.host"
    default_hint = "ask an operator to add the host to the setting PG_ALLOWED_HOSTS"


class DatabaseNotAllowed(NotAllowed):
    """The setting PG_ALLOWED_DATABASES does not list the database."""

    code = "DatabaseNotAllowed"
    default_target = "pg.database"
    default_hint = "ask an operator to add the database to the setting PG_ALLOWED_DATABASES"


class TargetNotAllowed(NotAllowed):
    """The setting ALLOWED_TARGETS does not list the table."""

    code = "TargetNotAllowed"
    default_target = "destination.target_table"
    default_hint = "ask an operator to add the table to the setting ALLOWED_TARGETS"


class SslModeNotAllowed(NotAllowed):
    """The connection would be less safe than it has to be."""

    code = "SslModeNotAllowed"
    default_target = "pg.sslmode"
    default_hint = 'set pg.sslmode to "verify-full", or leave it out'


class ArchiveError(RestoreError):
    """The archive cannot be read, or is not what its name says."""

    default_target = "adls_url"


class ArchiveNotFound(ArchiveError):
    """The storage account has no such file system or file."""

    code = "ArchiveNotFound"
    status = 404
    default_hint = "check the spelling of the path, upper and lower case included"


class StorageAccessDenied(ArchiveError):
    """The storage account refused the function's identity, or the SAS of the URL."""

    code = "StorageAccessDenied"
    status = 403
    default_hint = "give the function's identity the role Storage Blob Data Reader on the account or file system"


class StorageUnreachable(ArchiveError):
    """The storage account did not answer, or answered that it is busy."""

    code = "StorageUnreachable"
    status = 503
    retryable = True
    default_hint = "try again; if it stays, check the account's name, its firewall and the function's network"


class ArchiveChanged(ArchiveError):
    """The archive was overwritten while it was read."""

    code = "ArchiveChanged"
    status = 409
    default_hint = "wait until the archive is written, then send the request again"


class ArchiveNotReadable(ArchiveError):
    """Storage has the file but does not hand it out, for instance from the archive access tier."""

    code = "ArchiveNotReadable"
    status = 409
    default_hint = "a file in the archive access tier must be rehydrated to hot or cool first"


class ArchiveNotGzip(ArchiveError):
    """The stored bytes do not begin like a gzip file."""

    code = "ArchiveNotGzip"
    status = 422
    default_hint = "the file must hold gzip data, as its name says; upload it again"


class ArchiveTruncated(ArchiveError):
    """The gzip stream ends before its last member does."""

    code = "ArchiveTruncated"
    status = 422
    default_hint = "the upload was cut short: upload the archive again from its source"


class ArchiveCorrupt(ArchiveError):
    """The gzip stream is damaged, or other bytes follow it."""

    code = "ArchiveCorrupt"
    status = 422
    default_hint = "compare the file with its source (gzip -t) and upload it again"


class ArchiveChecksumMismatch(ArchiveError):
    """The stored bytes are not those that `copy.expected_sha256`, or the blob's own Content-MD5, promised."""

    code = "ArchiveChecksumMismatch"
    status = 422
    default_hint = "the file is another one than expected, or damaged: compare it with its source"


class RowCountMismatch(ArchiveError):
    """The archive holds more or fewer rows than `copy.expected_rows` says."""

    code = "RowCountMismatch"
    status = 422
    default_target = "copy.expected_rows"
    default_hint = "the archive is not the one that was counted, or its source changed meanwhile"


class ArchiveTooLarge(ArchiveError):
    """The archive unpacks to more than the function takes: CSV_MAX_BYTES, or CSV_MAX_EXPANSION times its own size."""

    code = "ArchiveTooLarge"
    status = 422
    default_hint = "if the archive is what it should be, raise the setting that the message names"


class TemporaryDiskFull(ArchiveError):
    """The function's temporary disk cannot hold the unpacked archive."""

    code = "TemporaryDiskFull"
    status = 507
    default_hint = "raise SPOOL_MAX_MEMORY_BYTES, or use a plan with a larger temporary disk"


class HeaderMissing(ArchiveError):
    """The archive holds no header line, and none was promised to be missing."""

    code = "HeaderMissing"
    status = 422
    default_hint = "if the file has no header, set copy.csv_options.HEADER to false and name copy.columns"


class HeaderInvalid(ArchiveError):
    """The header line cannot be read, or names a column twice or not at all."""

    code = "HeaderInvalid"
    status = 422
    default_hint = "check DELIMITER, QUOTE, ESCAPE and ENCODING in copy.csv_options against the file"


class HeaderMismatch(ArchiveError):
    """The header is readable but not the one that the request promised."""

    code = "HeaderMismatch"
    status = 422
    default_hint = "compare the file's header with copy.columns, copy.column_map and the table"


class EndOfDataMarker(ArchiveError):
    r"""A line holds only `\.`, at which PostgreSQL before 18 stops reading CSV without an error."""

    code = "EndOfDataMarker"
    status = 422
    default_hint = r"rows follow a line \. that PostgreSQL takes for the end: remove that line from the file"


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


class ReplacementTooSmall(DatabaseError):
    """The archive would replace the day's rows by fewer than `destination.min_rows_ratio` of them."""

    code = "ReplacementTooSmall"
    status = 409
    default_target = "destination.min_rows_ratio"
    default_hint = (
        "look whether the archive holds the whole day; if it does, set destination.min_rows_ratio lower: 0 allows any"
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


class RestoreCanceled(RestoreError):
    """The restore was told to stop. Everything was rolled back."""

    code = "RestoreCanceled"
    status = 409
    default_hint = "send the request again if the day is wanted after all"


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


# No right of GRANT's: an owner's members have it too.
OWNERSHIP = "ownership"


@dataclass(frozen=True)
class MissingRight:
    """A right that the role lacks.

    Attributes:
        role: the one that the session has; empty where nobody named it.
        right: as GRANT names it, or "ownership".
        target: what it is lacking on.
        is_needed: whether the restore fails without it; otherwise only a best-effort step does.
    """

    role: str
    right: str
    target: str
    is_needed: bool = True

    def __str__(self) -> str:
        """Return it as a person reads it: `INSERT on silver.telemetry`."""
        return f"{self.right} {'of' if self.right == OWNERSHIP else 'on'} {self.target}"


def lacks(missing: Sequence[MissingRight]) -> DatabasePermissionDenied:
    """Make the error that names the rights.

    Args:
        missing: at least one, all of the same role.
    """
    role = missing[0].role
    who = f"the role {role}" if role else "the role"
    details = []
    for right in missing:
        facts = {"role": role, "right": right.right}
        details.append(Fault(DatabasePermissionDenied.code, f"{who} lacks {right}", right.target, tuple(facts.items())))
    return DatabasePermissionDenied(f"{who} lacks {', '.join(str(right) for right in missing)}", details=details)
