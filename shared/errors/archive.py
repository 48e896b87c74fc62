"""What is wrong with the file in the lake."""

from __future__ import annotations

from shared.errors.base import RestoreError


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
