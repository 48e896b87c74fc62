"""Parses `adls_url`: which file it names, and which day of which table the file holds. Pure: no I/O, no environment.

The query is exactly one shared access signature (SAS), or there is none. The host identifies the account and the cloud.
Account names are unique only within one of Microsoft's clouds and one DNS zone: the same name elsewhere belongs to
someone else.

No message of this module repeats its input, which may hold a SAS signature or a password.
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
from shared.names import MAX_NAME_BYTES
from shared.secret import Secret

# The three kinds of SAS that a blob can have, and the parameters of each:
# https://learn.microsoft.com/rest/api/storageservices/create-service-sas
# https://learn.microsoft.com/rest/api/storageservices/create-account-sas
# https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
# Parameters that need more than the SAS are not accepted: sduoid and skdutid need a user's token, srh and srq need
# headers and parameters. The function sends only the SAS.
_SERVICE = "sv sr st se sp sip spr si ses sdd sig rscc rscd rsce rscl rsct"
_ACCOUNT = "sv ss srt sp st se sip spr ses sig"
_USER_DELEGATION = "sv sr st se sp sip spr skoid sktid skt ske sks skv saoid suoid scid ses sdd sig"
SAS_PARAMETERS = frozenset(f"{_SERVICE} {_ACCOUNT} {_USER_DELEGATION}".split())
_NEEDED = frozenset({"sig", "sv"})
# Characters that need no escape in a query value (RFC 3986, 3.4, without the separator &). Any other would be escaped
# in transit, and the signature might then differ from the one that was given.
_VALUE = re.compile(r"(?:[A-Za-z0-9._~:/+=,-]|%[0-9A-Fa-f]{2})+", re.ASCII)

_HINT = (
    "after ? only a SAS is allowed, exactly as Azure issues it (sv=...&sig=...): no snapshot, version or other"
    " parameter; write a ? or # in a name as %3F or %23"
)


def split_sas(text: str) -> tuple[str, Secret | None]:
    """Split the SAS from an `adls_url`.

    Args:
        text: the URL or path as the caller sent it.

    Returns:
        The text before the first `?`, and the SAS after it, exactly as it was sent; None if there is no SAS.

    Raises:
        InvalidArchiveUrl: there is a fragment, or a query that is not exactly one SAS.
    """
    if "#" in text:
        raise InvalidArchiveUrl("adls_url must not have a fragment", hint=_HINT)
    url, mark, query = text.partition("?")
    if not mark:
        return text, None
    names = []
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        if name not in SAS_PARAMETERS:
            raise InvalidArchiveUrl("the query of adls_url holds a parameter that belongs to no SAS", hint=_HINT)
        if not _VALUE.fullmatch(value):
            raise InvalidArchiveUrl(
                "the query of adls_url holds an empty value, or a character that must be percent-encoded", hint=_HINT
            )
        names.append(name)
    if len(set(names)) != len(names):
        raise InvalidArchiveUrl("the query of adls_url holds a parameter twice", hint=_HINT)
    if not _NEEDED.issubset(names):
        raise InvalidArchiveUrl("the query of adls_url is not a SAS: it lacks sig or sv", hint=_HINT)
    return url, Secret(query)


# Exactly Microsoft's forms. A bearer token is sent to this host, so the pattern must not be looser.
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
        zone: the DNS zone of its endpoints, `z00` to `z99`; None: the older endpoints, which have no zone.
    """

    account: str
    cloud: Cloud
    zone: str | None = None

    def name(self, service: Literal["dfs", "blob"]) -> str:
        """Return the host of one of the account's services, in lower case."""
        if self.zone is not None:
            return f"{self.account}.{self.zone}.{service}.storage.azure.net"
        return f"{self.account}.{service}.{self.cloud.storage_suffix}"


def parse_storage_host(host: str) -> StorageHost | None:
    """Read a host, in any case, with the port 443 or without a port.

    Returns:
        The account; None if the host is not exactly one of Microsoft's storage endpoints.
    """
    # isascii() must come before lower(), which turns some other letters (the Kelvin sign) into ASCII ones.
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
# C0, DEL and C1: no name needs them, and they can forge log lines.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class ArchiveLocation:
    """Where an archived day is stored, and what its name says.

    Attributes:
        host: the storage account.
        filesystem: file system (container) in the account.
        path: path inside the file system, percent-encoding decoded.
        database: database that the day belongs to.
        schema: schema of the table.
        table: name of the table; it may hold dots.
        day: the UTC day that the archive holds.
        sas: used to read this file only; None: the function's own credentials are used. Secret. Two locations that
            differ only in it are equal.
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
        """`https://<account>.dfs.core.windows.net`, or that of another cloud or zone; lower case, no final slash."""
        return f"https://{self.host.name('dfs')}"

    @property
    def url(self) -> str:
        """The canonical `abfss://` form, percent-encoded, for answers and logs. It holds no secret."""
        return f"abfss://{self.filesystem}@{self.host.name('dfs')}/{quote(self.path, safe='/')}"


def bare_etag(etag: str) -> str:
    """Return an ETag without quotes: a listing has it so, other answers have it in quotes."""
    return etag.removeprefix("W/").strip('"')


def parse_adls_url(
    text: str, *, default_account_url: str | None = None, default_filesystem: str | None = None
) -> ArchiveLocation:
    """Read an `adls_url`.

    The forms are `abfss://<fs>@<host>/<path>`, `https://<host>/<fs>/<path>` and a bare `<path>`, which may
    begin with one slash. `abfs://` is accepted too; the file is read over TLS in any case. The host is
    `<account>.dfs.core.windows.net` or that of another cloud, the same with `.blob.`, or the DNS zone form
    `<account>.z<nn>.dfs.storage.azure.net`. Percent-encoding is decoded once, in every form. A `?`, `#`, `%`
    or backslash that belongs to a name must be percent-encoded. A SAS may follow as the query.

    Args:
        text: the URL or path as the caller sent it.
        default_account_url: account of a bare path (setting `ADLS_ACCOUNT_URL_DEFAULT`).
        default_filesystem: file system of a bare path (setting `ADLS_FILESYSTEM_DEFAULT`).

    Returns:
        The location. `parse_adls_url(location.url)` returns the same one, without its SAS.

    Raises:
        InvalidArchiveUrl: the text has none of the forms, its path neither layout, or its query is not a SAS.
        StorageHostNotAllowed: the host is not exactly a storage endpoint.
        ConfigurationError: the text is a bare path, and the default account or file system cannot be read.
    """
    # The query is removed first, so that no later error can repeat a signature.
    text, sas = split_sas(text)
    if not text.strip():
        raise InvalidArchiveUrl("adls_url is empty")
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
            hint="the name of a file system has 3 to 63 lower-case letters, digits and single dashes",
        )
    database, schema, table, day = _read_path(path)
    return ArchiveLocation(account, filesystem, path, database, schema, table, day, sas)


def _check_characters(text: str) -> None:
    if "\\" in text:
        raise InvalidArchiveUrl(
            "adls_url must not hold a backslash",
            hint="separate folders with /; write a backslash in a name as %5C",
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
            hint="write a % in a name as %25",
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
        raise InvalidArchiveUrl('the path in adls_url has a segment that is empty, "." or ".."')
    match = _FILE_NAME.fullmatch(file_name)
    if match is None:
        raise InvalidArchiveUrl("the file name in adls_url must end with .<YYYY-MM-DD>.csv.gz")
    # If the name has no dot, the schema is the folder.
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
    if size > MAX_NAME_BYTES:
        raise InvalidArchiveUrl(
            f"the {kind} in adls_url has {size} bytes, more than the {MAX_NAME_BYTES} of a PostgreSQL name"
        )


def _read_day(text: str) -> dt.date:
    try:
        day = isoparse(text).date()
    except ValueError as exc:
        raise InvalidArchiveUrl(f"the date {text} in adls_url does not exist") from exc
    if day == dt.date.max:
        raise InvalidArchiveUrl(
            f"the date {text} in adls_url is out of range: its end is beyond the last date that can be represented"
        )
    return day
