"""The tree of errors that a restore can raise. Imports nothing else of ours.

    RestoreError
    |-- RequestError            the caller's JSON                       400 403 404 409 413 415
    |-- ArchiveError            the file in the lake                    403 404 409 422 503 507
    |-- DatabaseError           the server, the table, the rows         400 403 404 409 422 500 503 507
    |-- JobError                the queue and its storage account       409 500 503
    |-- RestoreCanceled         a cancel                                409
    |-- ConfigurationError      the function app's own settings         500
    `-- InternalError           our bug: the caller sees the id only    500

The classes follow in the order of the tree. A code is stable: it is never renamed and never given another meaning.
`docs/errors.md` lists all codes, and a test keeps the list complete. A message is lower case and has no full stop. A
hint says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias


@dataclass(frozen=True)
class Fault:
    """One of the faults behind an error.

    Attributes:
        code: stable PascalCase code.
        message: what is wrong, for a person.
        target: where it is wrong: a path into the request (`copy.csv_options.QUOTE`), a column, a CSV line.
        info: further facts by name (`line`, `column`, `sqlstate`). Values are JSON.
    """

    code: str
    message: str
    target: str | None = None
    info: tuple[tuple[str, Any], ...] = ()


# What the queue does about an error: `now`: it tries again at once; `later`: it does so with growing delays; `fix`: it
# does not, since somebody must fix the cause; `ask`: it first asks the server whether the COMMIT took place.
Retry: TypeAlias = Literal["now", "later", "fix", "ask"]


class RestoreError(Exception):
    """A restore that failed. The target is unchanged, unless the subclass says otherwise.

    `retryable` says whether a caller may send the same request again unchanged, after `retry_after_seconds`; `retry`,
    what the queue of asynchronous restores does, and `most_retries`, how often at most (None: as often as for any
    error). With `retry_delay_seconds` set, the queue tries again at that fixed interval, and these attempts do not
    count in JOB_MAX_ATTEMPTS. Otherwise the delays grow.

    Args:
        message: what is wrong, for a person. It never holds a secret.
        target: the part of the request or of the archive that is at fault.
        hint: what to do about it; None: the class's default hint.
        details: the individual faults, if there are several or if they say more than the message.

    Attributes:
        retry_after_seconds: how long to wait before the request is sent again, if the error is one for which HTTP has
            the header Retry-After (503, 429). Whole seconds; set if the error knows a better time.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False
    retry: ClassVar[Retry] = "fix"
    most_retries: ClassVar[int | None] = None
    retry_delay_seconds: ClassVar[int | None] = None
    default_hint: ClassVar[str | None] = None
    default_target: ClassVar[str | None] = None
    retry_after_seconds: int = 30

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


class RequestError(RestoreError):
    """The request cannot be understood or asks for something that does not exist."""

    status = 400


class InvalidJson(RequestError):
    """The body is not a JSON object."""

    code = "InvalidJson"
    default_hint = "send one JSON object with the header Content-Type: application/json"


class InvalidRequest(RequestError):
    """One or more fields are wrong; `details` names each."""

    code = "InvalidRequest"
    default_hint = "correct the fields that details names; each says what it takes"


class RequestTooLarge(RequestError):
    """The HTTP body is larger than any request needs to be."""

    code = "RequestTooLarge"
    status = 413
    default_hint = "send the fields of a request and nothing else; the rows come from the lake, not from the body"


class UnsupportedMediaType(RequestError):
    """The body is not sent as JSON. A web page of another site could send other types without a preflight request."""

    code = "UnsupportedMediaType"
    status = 415
    default_hint = "send the header Content-Type: application/json"


class InvalidArchiveUrl(RequestError):
    """`adls_url` has none of the known forms, or its path has neither of the two layouts."""

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
        "the host must be <account>.dfs.core.windows.net or <account>.blob.core.windows.net,"
        " or the same in Azure Government or Azure China"
    )


class NotAllowed(RequestError):
    """A setting of the function app does not allow this. No connection was made."""

    status = 403


class StorageAccountNotAllowed(NotAllowed):
    """The setting ADLS_ALLOWED_ACCOUNTS does not list the account, or not this file system."""

    code = "StorageAccountNotAllowed"
    default_target = "adls_url"
    default_hint = "ask an operator to add the account or file system to the setting ADLS_ALLOWED_ACCOUNTS"


class DatabaseHostNotAllowed(NotAllowed):
    """The function may not connect to the host, or may not send it its own password or token."""

    code = "DatabaseHostNotAllowed"
    default_target = "pg.host"
    default_hint = "ask an operator to add the host to the setting PG_ALLOWED_HOSTS"


class DatabaseNotAllowed(NotAllowed):
    """The setting PG_ALLOWED_DATABASES does not list the database."""

    code = "DatabaseNotAllowed"
    default_target = "pg.database"
    default_hint = "ask an operator to add the database to the setting PG_ALLOWED_DATABASES"


class DatabaseUserNotAllowed(NotAllowed):
    """The function's own password or token is not used for the role that the request names."""

    code = "DatabaseUserNotAllowed"
    default_target = "pg.user"
    default_hint = "leave pg.user out, give that role's own password, or ask an operator to list it in PG_ALLOWED_USERS"


class TargetNotAllowed(NotAllowed):
    """The setting ALLOWED_TARGETS does not list the table."""

    code = "TargetNotAllowed"
    default_target = "destination.target_table"
    default_hint = "ask an operator to add the table to the setting ALLOWED_TARGETS"


class SslModeNotAllowed(NotAllowed):
    """The connection would be less secure than required."""

    code = "SslModeNotAllowed"
    default_target = "pg.sslmode"
    default_hint = 'set pg.sslmode to "verify-full", or leave it out'


class SecretInAsyncRequest(RequestError):
    """The request holds a secret, and a queue and a record would keep it."""

    code = "SecretInAsyncRequest"
    default_hint = "leave the secret out, and let an app setting or the function's identity replace it"


class OperationIdReused(RequestError):
    """Another request was sent under the same id before."""

    code = "OperationIdReused"
    default_hint = "choose another id, or send the same request as before"


class OperationNotFound(RequestError):
    """No record of the operation is kept, or the token does not open its result."""

    code = "OperationNotFound"
    status = 404
    default_hint = "check the id; records are kept for JOB_RETENTION_DAYS after their end"


class OperationEnded(RequestError):
    """The operation has ended, so it cannot be canceled."""

    code = "OperationEnded"
    status = 409
    default_hint = "its result says how it ended"


class OperationNotEnded(RequestError):
    """The backfill has not ended, so it cannot be retried."""

    code = "OperationNotEnded"
    status = 409
    default_hint = "wait until it has ended, or stop it first; its monitor says how far it is"


class ArchiveError(RestoreError):
    """The archive cannot be read, or is not what its name says."""

    default_target = "adls_url"


class ArchiveNotFound(ArchiveError):
    """The storage account has no such file system or file."""

    code = "ArchiveNotFound"
    status = 404
    default_hint = "check the spelling of the path, upper and lower case included"


class StorageAccessDenied(ArchiveError):
    """The storage account refused the identity, key or SAS, or the network that the request came from."""

    code = "StorageAccessDenied"
    status = 403
    default_hint = (
        "look up storage's code in https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes"
    )


class StorageUnreachable(ArchiveError):
    """The storage account could not be reached, did not answer, or answered that it is busy."""

    code = "StorageUnreachable"
    status = 503
    retryable = True
    retry = "later"
    default_hint = "try again; if it persists, check the account's name, its firewall and the function's network"


class ArchiveChanged(ArchiveError):
    """The archive was overwritten while it was being read."""

    code = "ArchiveChanged"
    status = 409
    retry = "later"
    default_hint = "wait until the archive is completely written, then send the request again"


class ArchiveOtherVersion(ArchiveError):
    """The archive is another version than `copy.expected_etag` names."""

    code = "ArchiveOtherVersion"
    status = 409
    default_hint = "check whether the newer version is the one to restore; then send its ETag, or none"


class ArchiveBeingCopied(ArchiveError):
    """Storage still copies the file from somewhere else. Until the copy ends, the file is empty or incomplete."""

    code = "ArchiveBeingCopied"
    status = 409
    retry = "later"
    # Every minute for two weeks, after which storage gives a copy up
    # (https://learn.microsoft.com/rest/api/storageservices/copy-blob#remarks).
    retry_delay_seconds = 60
    most_retries = 20_160
    default_hint = "wait until the copy has ended, then send the request again"


class ArchiveNotReadable(ArchiveError):
    """Storage does not deliver the file: it is in the archive access tier, or the message has storage's own code."""

    code = "ArchiveNotReadable"
    status = 409
    default_hint = (
        "look up storage's code in https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes"
    )


class ArchiveBeingRehydrated(ArchiveNotReadable):
    """The file is on its way back from the archive access tier."""

    code = "ArchiveBeingRehydrated"
    retry = "later"
    # Every 10 minutes for 15 hours, the longest that Azure states for standard priority
    # (https://learn.microsoft.com/azure/storage/blobs/archive-rehydrate-overview).
    retry_delay_seconds = 600
    most_retries = 90
    default_hint = (
        "wait until it is there, which takes up to 15 hours (with high priority often less than one); the priority can"
        " be raised meanwhile; then send the request again"
    )


class ArchiveNotGzip(ArchiveError):
    """The stored bytes do not begin as a gzip file does."""

    code = "ArchiveNotGzip"
    status = 422
    default_hint = "the file must be gzip data, as its name says: compress it with gzip, and upload it again"


class ArchiveCompressedTwice(ArchiveError):
    """The archive is gzip inside gzip."""

    code = "ArchiveCompressedTwice"
    status = 422
    default_hint = (
        "decompress it once and upload the result (gunzip < archive.csv.gz > once.csv.gz); a tool that uploads with"
        " Content-Encoding: gzip compresses a compressed file once more"
    )


class ArchiveTruncated(ArchiveError):
    """The gzip stream ends inside a member, or the file is empty."""

    code = "ArchiveTruncated"
    status = 422
    default_hint = "the upload was cut short: upload the archive again from its source"


class ArchiveCorrupt(ArchiveError):
    """The gzip stream is damaged, or other bytes follow it."""

    code = "ArchiveCorrupt"
    status = 422
    default_hint = "compare the file with its source (gzip -t) and upload it again"


class ArchiveChecksumMismatch(ArchiveError):
    """The stored bytes do not match `copy.expected_sha256` or the blob's own Content-MD5."""

    code = "ArchiveChecksumMismatch"
    status = 422
    default_hint = "the file is not the expected one, or is damaged: compare it with its source"


class RowCountMismatch(ArchiveError):
    """The archive holds more or fewer rows than `copy.expected_rows` says."""

    code = "RowCountMismatch"
    status = 422
    default_target = "copy.expected_rows"
    default_hint = "this is not the archive that was counted, or its source changed after the count"


class ArchiveTooLarge(ArchiveError):
    """The archive decompresses to more than CSV_MAX_BYTES, or to more than CSV_MAX_EXPANSION times its own size."""

    code = "ArchiveTooLarge"
    status = 422
    default_hint = "if the archive is the right one, raise the setting that the message names"


class ArchiveTooExpensive(ArchiveError):
    """Decompressing and counting the archive takes more processor time than PREPARE_CPU_SECONDS allows."""

    code = "ArchiveTooExpensive"
    status = 422
    default_hint = (
        "check whether it is the right archive, and not one of nearly empty gzip members or blocks; if it is right"
        " and large, raise the setting PREPARE_CPU_SECONDS"
    )


class TemporaryDiskFull(ArchiveError):
    """The function's temporary disk cannot hold the decompressed archive."""

    code = "TemporaryDiskFull"
    status = 507
    retry = "later"
    default_hint = (
        'set copy.transfer to "stream", which needs no disk, or lower SPOOL_MAX_ARCHIVE_BYTES; otherwise raise'
        " SPOOL_MAX_MEMORY_BYTES, or use a plan with a larger temporary disk"
    )


class HeaderMissing(ArchiveError):
    """The archive has no header line, and the request did not say so."""

    code = "HeaderMissing"
    status = 422
    default_hint = "if the file has no header, set copy.csv_options.HEADER to false and name copy.columns"


class HeaderInvalid(ArchiveError):
    """The header line cannot be read, repeats a name, or has an empty one."""

    code = "HeaderInvalid"
    status = 422
    default_hint = "check DELIMITER, QUOTE, ESCAPE and ENCODING in copy.csv_options against the file"


class HeaderMismatch(ArchiveError):
    """The header can be read, but is not the one that the request describes."""

    code = "HeaderMismatch"
    status = 422
    default_hint = "compare the file's header with copy.columns, copy.column_map and the table"


class EndOfDataMarker(ArchiveError):
    r"""Rows follow a line `\.`, at which PostgreSQL before 18 stops reading CSV without an error."""

    code = "EndOfDataMarker"
    status = 422
    default_hint = r"remove the line \. from the file: PostgreSQL before 18 ignores the rows that follow it"


class DatabaseError(RestoreError):
    """The database refused the restore, or could not be reached. The restore was rolled back, unless said otherwise."""


class DatabaseUnreachable(DatabaseError):
    """The connection failed or broke, or the server is starting or stopping."""

    code = "DatabaseUnreachable"
    status = 503
    retryable = True
    retry = "later"
    default_target = "pg"
    default_hint = (
        "try again; if it persists, check pg.host, pg.port, the firewall and the server's state; if the message"
        " mentions SSL, a certificate or authentication, check pg.sslmode, PGSSLROOTCERT and PGREQUIREAUTH"
    )


class TooManyConnections(DatabaseError):
    """The server has no free connection slot, or the role or database has used up its own."""

    code = "TooManyConnections"
    status = 503
    retryable = True
    retry = "later"
    default_target = "pg"
    default_hint = (
        "try again; if it persists, run fewer restores at once (each takes two connections), or raise max_connections"
        " or the CONNECTION LIMIT of the role or database"
    )


class DatabaseAccessDenied(DatabaseError):
    """The user or password is wrong, or the server does not admit this client."""

    code = "DatabaseAccessDenied"
    status = 403
    default_target = "pg"
    default_hint = "check pg.user and pg.password (or PGUSER and PGPASSWORD) and the server's pg_hba rules"


class DatabasePermissionDenied(DatabaseError):
    """The role may connect but lacks a right that the restore needs."""

    code = "DatabasePermissionDenied"
    status = 403
    default_target = "pg.user"
    default_hint = (
        "grant the role each right that details names: GRANT <right> ON <target> TO <role>; for ownership, make the"
        " role a member of the role that owns the target"
    )


class ConnectionOptionRejected(DatabaseError):
    """The server refused a setting of the connection (`options` of a URI, PGOPTIONS)."""

    code = "ConnectionOptionRejected"
    status = 400
    default_target = "pg.connection_uri"
    default_hint = "correct or remove options in pg.connection_uri, or the app setting PGOPTIONS"


class DatabaseNotFound(DatabaseError):
    """The server has no such database."""

    code = "DatabaseNotFound"
    status = 404
    default_target = "pg.database"
    default_hint = "the name comes from the archive's path; to use another database, set pg.database"


class DatabaseInRestoreMode(DatabaseError):
    """`timescaledb.restoring` is on for the session, so rows copied now would be lost."""

    code = "DatabaseInRestoreMode"
    status = 409
    default_target = "pg.database"
    default_hint = "a pg_restore is running or was not finished: run SELECT timescaledb_post_restore() after it"


class TableNotFound(DatabaseError):
    """The target, or the table that staging is modeled on, does not exist."""

    code = "TableNotFound"
    status = 404
    default_target = "destination.target_table"
    default_hint = "check the spelling of the name, upper and lower case included"


class TargetNotATable(DatabaseError):
    """The target is a view, a sequence or something else that takes no COPY."""

    code = "TargetNotATable"
    status = 422
    default_target = "destination.target_table"
    default_hint = "name a table or a hypertable"


class UnknownColumn(DatabaseError):
    """The request or the header names a column that does not exist."""

    code = "UnknownColumn"
    status = 422
    default_hint = (
        "copy.column_map renames a column of the file, or leaves it out with null; destination.mode staging leaves out"
        " all that the table lacks"
    )


class DataRejected(DatabaseError):
    """PostgreSQL refused a row."""

    code = "DataRejected"
    status = 422
    default_hint = "correct the row at the line that details names; nothing was loaded"


class StagingTypeMismatch(DatabaseError):
    """A column of `create_staging_like` has a type that PostgreSQL cannot assign to the target's."""

    code = "StagingTypeMismatch"
    status = 422
    default_target = "destination.create_staging_like"
    default_hint = "give that table's columns the target's types, or omit create_staging_like"


class TooManyRejectedRows(DatabaseError):
    """More rows than `copy.max_rejected_rows` could not be parsed."""

    code = "TooManyRejectedRows"
    status = 422
    default_target = "copy.max_rejected_rows"
    default_hint = "correct the rows, or raise copy.max_rejected_rows; details names the first lines"


class OnErrorNotSupported(DatabaseError):
    """`copy.on_error` "skip" needs PostgreSQL 17 or newer."""

    code = "OnErrorNotSupported"
    status = 400
    default_target = "copy.on_error"
    default_hint = "send the request without on_error, and correct the rows that the answer names"


class WindowNotEmpty(DatabaseError):
    """The target already holds rows in the archive's day, and `destination.on_existing` is "error"."""

    code = "WindowNotEmpty"
    status = 409
    default_target = "destination.on_existing"
    default_hint = 'set destination.on_existing: "skip" leaves the day as it is, "replace" replaces it with the archive'


class ReplacementTooSmall(DatabaseError):
    """The archive would replace the day's rows by fewer than `destination.min_rows_ratio` of them."""

    code = "ReplacementTooSmall"
    status = 409
    default_target = "destination.min_rows_ratio"
    default_hint = (
        "check whether the archive holds the whole day; if it does, lower destination.min_rows_ratio (0 allows any)"
    )


class ReferencedRows(DatabaseError):
    """Replacing the day would change rows that refer to its rows by foreign keys, or the server keeps those rows."""

    code = "ReferencedRows"
    status = 409
    default_target = "destination.on_referenced"
    default_hint = (
        "details names the tables and what would happen to their rows;"
        ' if that is wanted, set destination.on_referenced to "allow"'
    )


class ChunkInconsistent(DatabaseError):
    """A compressed chunk holds rows that break one of its own keys, so it cannot be decompressed."""

    code = "ChunkInconsistent"
    status = 409
    default_target = "destination.target_table"
    default_hint = (
        "drop that key, decompress the chunk, delete the duplicate rows, and create the key again; rows of"
        " an empty day can be restored before that, with timescaledb.decompress_window false"
    )


class KeyNotEnforced(DatabaseError):
    """Rows would go beside compressed ones, and TimescaleDB does not enforce a key of theirs there."""

    code = "KeyNotEnforced"
    status = 409
    default_target = "timescaledb.decompress_window"
    default_hint = (
        'set timescaledb.decompress_window to true or "auto", so that PostgreSQL compares all rows; where a chunk could'
        " not be decompressed, the role must own the table; decompress a chunk of other days by hand"
    )


class RowsOutsideWindow(DatabaseError):
    """The archive holds rows from outside the day in its name."""

    code = "RowsOutsideWindow"
    status = 422
    default_target = "destination.rows_outside_window"
    default_hint = 'if they belong there, set destination.rows_outside_window to "allow"'


class WindowUnknown(DatabaseError):
    """The request needs the day's rows in the target, and no time column is known to find them by."""

    code = "WindowUnknown"
    status = 422
    default_target = "destination.time_column"
    default_hint = 'name the time column in destination.time_column, or set destination.on_existing to "append"'


class VerificationFailed(DatabaseError):
    """A recount of the day does not match the rows that were loaded. Everything was rolled back."""

    code = "VerificationFailed"
    status = 422
    default_target = "verify"
    default_hint = "look for a trigger or rule on the table that drops, adds or moves rows; details has the counts"


class RestoreInProgress(DatabaseError):
    """Another restore of this day into this table is running."""

    code = "RestoreInProgress"
    status = 409
    retry = "later"
    default_target = "destination.target_table"
    default_hint = (
        "wait until the other restore has ended; the log has it under the request_id that details names, and if it runs"
        " behind the queue, GET /api/restores?request_id=<id> finds it"
    )


class CsvOptionRejected(DatabaseError):
    """The server does not accept the csv options as given."""

    code = "CsvOptionRejected"
    status = 400
    default_target = "copy.csv_options"
    default_hint = "correct the option, or leave out one that this server does not have, such as DEFAULT before 16"


class OperationNotSupported(DatabaseError):
    """PostgreSQL does not support this on such a table, for instance COPY under row-level security."""

    code = "OperationNotSupported"
    status = 422
    default_target = "destination.target_table"
    default_hint = "the message is the server's own, and says what it does not support for this table"


class TargetLocked(DatabaseError):
    """Another session holds a lock that the restore needs, or the two deadlocked."""

    code = "TargetLocked"
    status = 503
    retryable = True
    retry = "later"
    default_target = "destination.target_table"
    default_hint = "try again when the other session is done; pg_locks and pg_stat_activity name it"


class StatementCanceled(DatabaseError):
    """A timeout ended a statement: that of PG_STATEMENT_TIMEOUT_SECONDS, or another one that the message names."""

    code = "StatementCanceled"
    status = 503
    retryable = True
    retry = "now"
    default_target = "pg"
    default_hint = "raise the app setting PG_STATEMENT_TIMEOUT_SECONDS, then try again"


class CommitOutcomeUnknown(DatabaseError):
    """The connection broke during the COMMIT: either the whole day was committed, or nothing was."""

    code = "CommitOutcomeUnknown"
    status = 500
    retry = "ask"
    default_target = "pg"
    default_hint = "count the day's rows in the table before you send the request again"


class CaggNotFound(DatabaseError):
    """`timescaledb.refresh_caggs` names no continuous aggregate over the target. Never fails a restore."""

    code = "CaggNotFound"
    status = 404
    default_target = "timescaledb.refresh_caggs"
    default_hint = 'name continuous aggregates over the target, or set timescaledb.refresh_caggs to "all"'


class DatabaseReadOnly(DatabaseError):
    """The server is a replica, or transactions of the role or database are read-only."""

    code = "DatabaseReadOnly"
    status = 409
    default_target = "pg.host"
    default_hint = "name the primary server in pg.host"


class DatabaseFailedOver(DatabaseReadOnly):
    """The server became a replica a short while ago: another one may be the primary now. The code stays the same."""

    retry = "later"
    default_hint = (
        "if it was the primary until now, wait a minute until pg.host leads to the new one, then try again; otherwise"
        " name the primary server in pg.host"
    )


class DatabaseStorageFull(DatabaseError):
    """The server has turned itself read-only, as Azure's do when their disk is almost full."""

    code = "DatabaseStorageFull"
    status = 507
    retry = "later"
    most_retries = 1
    default_target = "pg.host"
    default_hint = (
        "grow the disk: at 95 % Azure sets default_transaction_read_only on the whole server, and resets it once"
        " there is room; if an operator has set it, remove it from the server's configuration"
    )


class DatabaseDiskFull(DatabaseError):
    """The server's disk is full, or another of its resources is exhausted."""

    code = "DatabaseDiskFull"
    status = 507
    retry = "later"
    most_retries = 1
    default_target = "pg.host"
    default_hint = "free or add disk space on the database server, then send the request again"


class DatabaseFailed(DatabaseError):
    """The server reported an error that has no code of its own here; `details` holds its SQLSTATE."""

    code = "DatabaseFailed"
    status = 500
    default_hint = "look up the SQLSTATE in details, and see the server's own log"


class JobError(RestoreError):
    """A restore behind the queue could not be taken, followed or brought to its end."""


class JobStorageUnreachable(JobError):
    """The function app's own storage account (AzureWebJobsStorage) did not answer, or refused."""

    code = "JobStorageUnreachable"
    status = 503
    retryable = True
    retry = "later"
    default_hint = (
        "try again; if it persists, check AzureWebJobsStorage, and the roles Storage Blob, Queue and Table Data"
        " Contributor of the function's identity; a restore without async does not need that account"
    )


class TooManyAttempts(JobError):
    """The operation lost its worker again and again. Of a backfill, the days that are in stay in."""

    code = "TooManyAttempts"
    status = 500
    default_hint = "search the log for the operation's id; the host may run out of memory or time"


class DaysFailed(JobError):
    """Days of a backfill failed; `details` names up to a hundred of them. Days that were restored stay in."""

    code = "DaysFailed"
    status = 409
    default_hint = "fix the causes that details names, then retry the backfill: it restores only days that are not in"


class RestoreCanceled(RestoreError):
    """The restore was canceled, here or by an administrator, and rolled back. Restored days of a backfill stay in."""

    code = "RestoreCanceled"
    status = 409
    default_hint = (
        "if it is still wanted, send the request again: behind the queue without an Operation-Id, or under another one;"
        " or retry the backfill"
    )


class ConfigurationError(RestoreError):
    """A setting of the function app is missing or cannot be read."""

    code = "InvalidConfiguration"
    status = 500
    default_hint = "correct the app setting that target names, or remove it to use its default"


class InternalError(RestoreError):
    """A bug in this project. The log has the traceback under the request id. The message says so if the rows are in."""

    code = "InternalError"
    status = 500
    default_hint = "search the function's log for the request_id"


# Not a privilege that GRANT gives. Members of the owning role have it too.
OWNERSHIP = "ownership"
# An attribute of a role, not a right on the table whose policies apply to the role.
BYPASS = "BYPASSRLS"


_BEFORE_TARGET = {OWNERSHIP: "of", BYPASS: "for"}


@dataclass(frozen=True)
class MissingRight:
    """A right that the role lacks.

    Attributes:
        role: the session's role; empty if unknown.
        right: as GRANT names it, or "ownership" or "BYPASSRLS".
        target: the object on which it is missing.
        is_needed: whether the restore fails without it; otherwise only a best-effort step fails.
    """

    role: str
    right: str
    target: str
    is_needed: bool = True

    def __str__(self) -> str:
        """Return it for a person: `INSERT on silver.telemetry`."""
        return f"{self.right} {_BEFORE_TARGET.get(self.right, 'on')} {self.target}"


def lacks(missing: Sequence[MissingRight]) -> DatabasePermissionDenied:
    """Return the error that names the missing rights.

    Args:
        missing: at least one right, all of the same role.
    """
    role = missing[0].role
    who = f"the role {role}" if role else "the role"
    details = []
    for right in missing:
        facts = {"role": role, "right": right.right}
        details.append(Fault(DatabasePermissionDenied.code, f"{who} lacks {right}", right.target, tuple(facts.items())))
    return DatabasePermissionDenied(f"{who} lacks {', '.join(str(right) for right in missing)}", details=details)
