"""Every way in which a restore can fail, as one tree. This package imports nothing else of ours.

    RestoreError
    |-- RequestError            the caller's JSON                       400
    |-- ArchiveError            the file in the lake                    403 404 409 422 503 507
    |-- DatabaseError           the server, the table, the rows         403 404 409 422 503 507
    |-- ConfigurationError      the function app's own settings         500
    `-- InternalError           our bug: the caller sees the id only    500

A code is stable: it is never renamed and never given another meaning. `docs/errors.md` lists all of them,
and a test keeps the list complete. Messages are lower case without a full stop; a hint says what to do.
"""

from __future__ import annotations

from shared.errors.archive import (
    ArchiveChanged,
    ArchiveChecksumMismatch,
    ArchiveCorrupt,
    ArchiveError,
    ArchiveNotFound,
    ArchiveNotGzip,
    ArchiveNotReadable,
    ArchiveTruncated,
    EndOfDataMarker,
    HeaderInvalid,
    HeaderMismatch,
    HeaderMissing,
    RowCountMismatch,
    StorageAccessDenied,
    StorageUnreachable,
    TemporaryDiskFull,
)
from shared.errors.base import (
    ConfigurationError,
    Fault,
    InternalError,
    RestoreError,
)
from shared.errors.database import (
    CaggNotFound,
    CommitOutcomeUnknown,
    CsvOptionRejected,
    DatabaseAccessDenied,
    DatabaseDiskFull,
    DatabaseError,
    DatabaseFailed,
    DatabaseInRestoreMode,
    DatabaseNotFound,
    DatabasePermissionDenied,
    DatabaseReadOnly,
    DatabaseUnreachable,
    DataRejected,
    OnErrorNotSupported,
    OperationNotSupported,
    RestoreInProgress,
    RowsOutsideWindow,
    StatementCanceled,
    TableNotFound,
    TargetLocked,
    TargetNotATable,
    TooManyRejectedRows,
    UnknownColumn,
    VerificationFailed,
    WindowNotEmpty,
    WindowUnknown,
)
from shared.errors.request import (
    InvalidArchiveUrl,
    InvalidJson,
    InvalidRequest,
    RequestError,
    StorageHostNotAllowed,
)

__all__ = [
    "ArchiveChanged",
    "ArchiveChecksumMismatch",
    "ArchiveCorrupt",
    "ArchiveError",
    "ArchiveNotFound",
    "ArchiveNotGzip",
    "ArchiveNotReadable",
    "ArchiveTruncated",
    "CaggNotFound",
    "CommitOutcomeUnknown",
    "ConfigurationError",
    "CsvOptionRejected",
    "DataRejected",
    "DatabaseAccessDenied",
    "DatabaseDiskFull",
    "DatabaseError",
    "DatabaseFailed",
    "DatabaseInRestoreMode",
    "DatabaseNotFound",
    "DatabasePermissionDenied",
    "DatabaseReadOnly",
    "DatabaseUnreachable",
    "EndOfDataMarker",
    "Fault",
    "HeaderInvalid",
    "HeaderMismatch",
    "HeaderMissing",
    "InternalError",
    "InvalidArchiveUrl",
    "InvalidJson",
    "InvalidRequest",
    "OnErrorNotSupported",
    "OperationNotSupported",
    "RequestError",
    "RestoreError",
    "RestoreInProgress",
    "RowCountMismatch",
    "RowsOutsideWindow",
    "StatementCanceled",
    "StorageAccessDenied",
    "StorageHostNotAllowed",
    "StorageUnreachable",
    "TableNotFound",
    "TargetLocked",
    "TargetNotATable",
    "TemporaryDiskFull",
    "TooManyRejectedRows",
    "UnknownColumn",
    "VerificationFailed",
    "WindowNotEmpty",
    "WindowUnknown",
]
