"""The text of `adls_url` -> where the archive is. Pure: parses the URL, its host and its shared access signature (SAS).

The query is a SAS, whole and alone, or nothing. No message repeats a value of the SAS. The host says which account it
is, and in which of Microsoft's clouds. Account names are unique within a cloud and within a DNS zone, no further: the
same name elsewhere is somebody else's.
`adls_url` -> which file it is, and which day of which table it holds. Pure: no I/O, no environment.

No message of this module repeats what it was given: the text may hold a SAS signature or a password.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

from dateutil.parser import isoparse

from shared.errors import ConfigurationError, InvalidArchiveUrl, StorageHostNotAllowed
from shared.identity import CLOUDS, PUBLIC, Cloud
from shared.secret import Secret

# The three kinds of SAS that a blob can have, and what may stand in each:
# https://learn.microsoft.com/rest/api/storageservices/create-service-sas
# https://learn.microsoft.com/rest/api/storageservices/create-account-sas
# https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
# Not taken are those that do not work by themselves: sduoid and skdutid ask for the token of a user beside the SAS,
# srh and srq for headers and parameters. The function sends nothing but the SAS.
_SERVICE = "sv sr st se sp sip spr si ses sdd sig rscc rscd rsce rscl rsct"
_ACCOUNT = "sv ss srt sp st se sip spr ses sig"
_USER_DELEGATION = "sv sr st se sp sip spr skoid sktid skt ske sks skv saoid suoid scid ses sdd sig"
_KNOWN = frozenset(f"{_SERVICE} {_ACCOUNT} {_USER_DELEGATION}".split())
_NEEDED = frozenset({"sig", "sv"})
# What needs no escape in the value of a query (RFC 3986, 3.4, without the & between two). Anything else would be
# escaped on its way, and the signature might no longer be the one that was given.
_VALUE = re.compile(r"(?:[A-Za-z0-9._~:/+=,-]|%[0-9A-Fa-f]{2})+", re.ASCII)

_HINT = (
    "behind ? stands a SAS as Azure gives it out (sv=...&sig=...), or nothing: no snapshot, version or other parameter;"
    " a ? or # in a name is written %3F or %23"
)


def split_sas(text: str) -> tuple[str, Secret | None]:
    """Take the SAS off an `adls_url`.

    Args:
        text: the URL or path as the caller sent it.

    Returns:
        What stands before the first `?`, and the SAS without it, exactly as it was sent; None where there is none.

    Raises:
        InvalidArchiveUrl: there is a fragment, or a query that is not one SAS.
    """
    if "#" in text:
        raise InvalidArchiveUrl("adls_url must hold no fragment", hint=_HINT)
    url, mark, query = text.partition("?")
    if not mark:
        return text, None
    names = []
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        if name not in _KNOWN:
            raise InvalidArchiveUrl("the query of adls_url holds something that belongs to no SAS", hint=_HINT)
        if not _VALUE.fullmatch(value):
            raise InvalidArchiveUrl(
                "the query of adls_url holds an empty value, or a character that must be percent-encoded", hint=_HINT
            )
        names.append(name)
    if len(set(names)) != len(names):
        raise InvalidArchiveUrl("the query of adls_url holds a parameter twice", hint=_HINT)
    if not _NEEDED.issubset(names):
        raise InvalidArchiveUrl("the query of adls_url is no SAS: it lacks sig or sv", hint=_HINT)
    return url, Secret(query)


# Exactly Microsoft's forms. A bearer token is sent to this host, so nothing looser will do.
# https://learn.microsoft.com/azure/storage/common/storage-account-overview#storage-account-endpoints
_HOST = re.compile(
    r"(?P<account>[a-z0-9]{{3,24}})"
    r"(?:\.(?:dfs|blob)\.(?P<suffix>{})|\.(?P<zone>z[0-9]{{2}})\.(?:dfs|blob)\.storage\.azure\.net)"
    r"(?::443)?".format("|".join(re.escape(cloud.storage_suffix) for cloud in CLOUDS)),
    re.ASCII,
)


@dataclass(frozen=True)
class StorageHost:
    """One storage account.

    Attributes:
        account: its name.
        cloud: where it is.
        zone: the DNS zone of its endpoints, `z00` to `z99`; None: it has those that every account had before zones.
    """

    account: str
    cloud: Cloud
    zone: str | None = None

    def name(self, service: Literal["dfs", "blob"]) -> str:
        """Return the host of one of its services, in lower case."""
        if self.zone is not None:
            return f"{self.account}.{self.zone}.{service}.storage.azure.net"
        return f"{self.account}.{service}.{self.cloud.storage_suffix}"


def parse_storage_host(host: str) -> StorageHost | None:
    """Read a host, in any case, with the port 443 or without one.

    Returns:
        The account; None where the host is not exactly a storage endpoint of Microsoft's.
    """
    # Not str.lower() before isascii(): it turns some other letters (the Kelvin sign) into ASCII ones.
    match = _HOST.fullmatch(host.lower()) if host.isascii() else None
    if match is None:
        return None
    clouds = {cloud.storage_suffix: cloud for cloud in CLOUDS}
    return StorageHost(match["account"], clouds.get(match["suffix"], PUBLIC), match["zone"])


# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_FILESYSTEM = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*|\$root|\$web", re.ASCII)
_PATH_CHARACTERS = 1024
_FILE_NAME = re.compile(r"(?P<name>.+)\.(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})\.csv\.gz", re.ASCII)
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# C0, DEL and C1: no name holds them, and they forge log lines.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# NAMEDATALEN - 1: PostgreSQL cuts a longer name off with no more than a notice.
# https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
_IDENTIFIER_BYTES = 63


@dataclass(frozen=True)
class ArchiveLocation:
    """Where one archived day is stored, and what its name says.

    Attributes:
        host: the storage account.
        filesystem: file system (container) in the account.
        path: path inside the file system, percent-encoding decoded.
        database: database that the day belongs to.
        schema: schema of the table.
        table: name of the table; it may hold dots.
        day: the UTC day that the archive holds.
        sas: what this file is read with, and nothing else is; None: the function's own credentials. Secret. Which file
            it is does not depend on it.
    """

    host: StorageHost
    filesystem: str
    path: str
    database: str
    schema: str
    table: str
    day: dt.date
    sas: Secret | None = field(default=None, repr=False, compare=False)

    @property
    def account(self) -> str:
        """Name of the storage account."""
        return self.host.account

    @property
    def account_url(self) -> str:
        """`https://<account>.dfs.core.windows.net`, or that of its cloud or zone; lower case, no final slash."""
        return f"https://{self.host.name('dfs')}"

    @property
    def url(self) -> str:
        """The canonical `abfss://` form, percent-encoded, for answers and logs. It holds no secret."""
        return f"abfss://{self.filesystem}@{self.host.name('dfs')}/{quote(self.path, safe='/')}"


def parse_adls_url(
    text: str, *, default_account_url: str | None = None, default_filesystem: str | None = None
) -> ArchiveLocation:
    """Read an `adls_url`.

    The forms are `abfss://<fs>@<host>/<path>`, `https://<host>/<fs>/<path>` and a bare `<path>`, which may
    begin with one slash. `abfs://` is taken too: the file is read over TLS all the same. The host is
    `<account>.dfs.core.windows.net` or that of another cloud, the same with `.blob.`, or the DNS zone form
    `<account>.z<nn>.dfs.storage.azure.net`. Percent-encoding is decoded once, in every form; a `?`, `#`, `%`
    or backslash that belongs to a name must be percent-encoded. A SAS may follow as the query.

    Args:
        text: the URL or path as the caller sent it.
        default_account_url: account of a bare path (setting `ADLS_ACCOUNT_URL_DEFAULT`).
        default_filesystem: file system of a bare path (setting `ADLS_FILESYSTEM_DEFAULT`).

    Returns:
        The location. `parse_adls_url(location.url)` gives the same one, without its SAS.

    Raises:
        InvalidArchiveUrl: the text is none of the forms, its path is none of the two layouts, or its query is no SAS.
        StorageHostNotAllowed: the host is not exactly a storage endpoint.
        ConfigurationError: a bare path is resolved against a setting that cannot be read.
    """
    # The query comes off first: whatever else is wrong, nothing after this line sees a signature.
    text, sas = split_sas(text)
    _check_characters(text)
    scheme, separator, rest = text.partition("://")
    if not separator or "/" in scheme:
        account = _default_account(default_account_url)
        filesystem = _default_filesystem(default_filesystem)
        path = _decode(text.removeprefix("/"))
    elif scheme.lower() in {"abfss", "abfs"}:
        authority, _, rest = rest.partition("/")
        encoded, at, host = authority.partition("@")
        if not at:
            raise InvalidArchiveUrl("an abfss:// adls_url needs the form <filesystem>@<host>")
        account = _check_host(host)
        filesystem, path = _decode(encoded), _decode(rest)
    elif scheme.lower() == "https":
        host, _, rest = rest.partition("/")
        account = _check_host(host)
        filesystem, _, path = _decode(rest).partition("/")
    else:
        raise InvalidArchiveUrl("adls_url must begin with abfss:// or https://, or be a bare path")
    if not _FILESYSTEM.fullmatch(filesystem):
        raise InvalidArchiveUrl(
            "the file system in adls_url is not a valid name",
            hint="a file system is named by 3 to 63 lower-case letters, digits and single dashes",
        )
    database, schema, table, day = _read_path(path)
    return ArchiveLocation(account, filesystem, path, database, schema, table, day, sas)


def _check_characters(text: str) -> None:
    if "\\" in text:
        raise InvalidArchiveUrl(
            "adls_url must hold no backslash",
            hint="folders are divided by /; a backslash in a name is written %5C",
        )
    if _CONTROL.search(text):
        raise InvalidArchiveUrl("adls_url must hold no control character")


def _check_host(host: str) -> StorageHost:
    account = parse_storage_host(host)
    if account is None:
        raise StorageHostNotAllowed("the host of adls_url is not a storage endpoint of Azure")
    return account


def _default_account(url: str | None) -> StorageHost:
    if not url:
        raise InvalidArchiveUrl(
            "adls_url is a bare path and no default account is set",
            hint="send a full abfss:// URL, or set ADLS_ACCOUNT_URL_DEFAULT and ADLS_FILESYSTEM_DEFAULT",
        )
    scheme, _, rest = url.partition("://")
    account = parse_storage_host(rest.removesuffix("/")) if scheme.lower() == "https" else None
    if account is None:
        raise ConfigurationError(
            "the setting ADLS_ACCOUNT_URL_DEFAULT must be https://<account>.dfs.core.windows.net",
            target="ADLS_ACCOUNT_URL_DEFAULT",
        )
    return account


def _default_filesystem(name: str | None) -> str:
    if not name:
        raise InvalidArchiveUrl(
            "adls_url is a bare path and no default file system is set",
            hint="send a full abfss:// URL, or set ADLS_ACCOUNT_URL_DEFAULT and ADLS_FILESYSTEM_DEFAULT",
        )
    if not _FILESYSTEM.fullmatch(name):
        raise ConfigurationError(
            "the setting ADLS_FILESYSTEM_DEFAULT is not a valid file system name",
            target="ADLS_FILESYSTEM_DEFAULT",
        )
    return name


def _decode(encoded: str) -> str:
    if _BROKEN_ESCAPE.search(encoded):
        raise InvalidArchiveUrl(
            "adls_url holds a % that is not followed by two hexadecimal digits",
            hint="a % in a name is written %25",
        )
    try:
        text = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeError as exc:
        raise InvalidArchiveUrl("adls_url is not UTF-8") from exc
    if _CONTROL.search(text):
        raise InvalidArchiveUrl("adls_url must hold no control character")
    return text


def _read_path(path: str) -> tuple[str, str, str, dt.date]:
    if len(path) > _PATH_CHARACTERS:
        raise InvalidArchiveUrl(f"the path in adls_url is longer than {_PATH_CHARACTERS} characters")
    *folders, file_name = path.split("/")
    if not all(folders) or not file_name or {".", ".."} & {*folders, file_name}:
        raise InvalidArchiveUrl("the path in adls_url holds an empty, . or .. segment")
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        raise InvalidArchiveUrl("the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz")
    # Without a dot in the name the schema is a folder of its own.
    schema, dot, table = match["name"].partition(".")
    if not dot:
        table = schema
        schema = folders.pop() if folders else ""
    database = folders[-1] if folders else ""
    for kind, name in (("database", database), ("schema", schema), ("table", table)):
        _check_identifier(kind, name)
    return database, schema, table, _read_day(match["day"])


def _check_identifier(kind: str, name: str) -> None:
    if not name:
        raise InvalidArchiveUrl(
            f"the path in adls_url names no {kind}",
            hint="the layouts are .../<database>/<schema>.<table>.<YYYY-MM-DD>.csv.gz"
            " and .../<database>/<schema>/<table>.<YYYY-MM-DD>.csv.gz",
        )
    size = len(name.encode("utf-8"))
    if size > _IDENTIFIER_BYTES:
        raise InvalidArchiveUrl(
            f"the {kind} in adls_url has {size} bytes, more than the {_IDENTIFIER_BYTES} of a PostgreSQL name"
        )


def _read_day(text: str) -> dt.date:
    try:
        day = isoparse(text).date()
    except ValueError as exc:
        raise InvalidArchiveUrl(f"the date {text} in adls_url does not exist") from exc
    if day == dt.date.max:
        raise InvalidArchiveUrl(
            f"the date {text} in adls_url has no end: the next midnight is beyond the last representable date"
        )
    return day
