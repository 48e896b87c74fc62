"""The function app's settings. The only reader of the environment; everything else is given a `Settings`.

A setting that cannot be read is named in the error, and its value never is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from shared.errors import ConfigurationError
from shared.names import QualifiedName, is_listed
from shared.process import MIB
from shared.secret import Secret

PgAuth = Literal["password", "entra"]
AllowList = tuple[str, ...] | None

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}(?:\.[a-z0-9.]+)?(?:/[a-z0-9$-]{3,63})?", re.ASCII)
_HOST = re.compile(r"[a-z0-9._-]+(?::[0-9]{1,5})?|\[?[0-9a-f:.]+\]?|\[[0-9a-f:.]+\]:[0-9]{1,5}|/.*", re.ASCII)

_BASE_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+(?:/[A-Za-z0-9._~/-]*)?", re.ASCII)

_MOST_DIGITS = 15
_MOST_BYTES = 1024 * 1024 * MIB
# A day. No function runs longer, and PostgreSQL's own timeouts end at 24 days.
_MOST_SECONDS = 86_400
# DEFLATE itself ends at 1032: https://zlib.net/zlib_tech.html
_MOST_EXPANSION = 1032
_MOST_IDLE_SECONDS = 60
_MOST_INDEX_MEMORY_MIB = 1024 * 1024
# MAX_PARALLEL_WORKER_LIMIT in PostgreSQL's src/include/postmaster/bgworker_internals.h
_MOST_INDEX_WORKERS = 1024
_STRICTER = {
    "PGCHANNELBINDING": "channel_binding",
    "PGREQUIREAUTH": "require_auth",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
}
# The host's own names for its storage account, which are not in upper case.
_STORAGE = "AzureWebJobsStorage"
_WEB_JOBS_STORAGE = {
    "": "connection_string",
    "__accountName": "account_name",
    "__blobServiceUri": "blob_service_uri",
    "__queueServiceUri": "queue_service_uri",
    "__tableServiceUri": "table_service_uri",
    "__clientId": "client_id",
}
# Fields that are made of several variables.
_ASSEMBLED = {"libpq", "others", "web_jobs_storage"}


def _text(read: Callable[[str], Any]) -> BeforeValidator:
    """Read a setting's text; a value that is not text stays as it is. An error's text continues "must be"."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _whole(minimum: int = 1, maximum: int = _MOST_SECONDS) -> BeforeValidator:
    def read(text: str) -> int:
        # isdecimal keeps out "1_000" and " 5 ", which int() would take.
        is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
        if not is_number or not minimum <= int(text) <= maximum:
            raise ValueError(f"a whole number from {minimum} to {maximum}")
        return int(text)

    return _text(read)


def _one_of(*words: str) -> BeforeValidator:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(" or ".join(words))
        return text.lower()

    return _text(read)


def _items(
    what: str = "names", check: Callable[[str], object] = bool, convert: Callable[[str], str] = str
) -> BeforeValidator:
    def read(text: str) -> tuple[str, ...]:
        items = tuple(convert(item.strip()) for item in text.split(",") if item.strip())
        if not items or not all(map(check, items)):
            raise ValueError(f"a list of {what} with commas between them")
        return items

    return _text(read)


def _url() -> BeforeValidator:
    def read(text: str) -> str:
        if not _BASE_URL.fullmatch(text):
            raise ValueError("a URL such as https://host/api")
        return text.rstrip("/")

    return _text(read)


def _host(item: str) -> str:
    # Names are the same in upper and lower case, folders are not.
    return item if item.startswith("/") else item.lower()


class _Variables(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    def __repr_args__(self) -> tuple[()]:
        """Name no value: some are secrets, and a password that was put into the wrong setting is one, too."""
        return ()


class LibpqVariables(_Variables):
    """libpq's own variables, as far as they must be known before a connection is made.

    https://www.postgresql.org/docs/current/libpq-envars.html

    Attributes:
        host: `PGHOST`, one host or several with commas between them.
        hostaddr: `PGHOSTADDR`.
        port: `PGPORT`, as text: there may be several.
        user: `PGUSER`.
        password: `PGPASSWORD`. Secret.
        sslmode: `PGSSLMODE`.
        sslrootcert: `PGSSLROOTCERT`, path of a file.
        options: `PGOPTIONS`.
        others: further libpq parameters that the operator has tightened, by keyword; a request cannot change them.
    """

    host: str | None = None
    hostaddr: str | None = None
    port: str | None = None
    user: str | None = None
    password: Secret | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    options: str | None = None
    others: Mapping[str, str] = {}


class WebJobsStorage(_Variables):
    """The function app's own storage account, as the Functions host finds it: by a connection string or by identity.

    https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity

    Attributes:
        connection_string: `AzureWebJobsStorage`. Secret.
        account_name: `AzureWebJobsStorage__accountName`.
        blob_service_uri: `AzureWebJobsStorage__blobServiceUri`.
        queue_service_uri: `AzureWebJobsStorage__queueServiceUri`.
        table_service_uri: `AzureWebJobsStorage__tableServiceUri`.
        client_id: `AzureWebJobsStorage__clientId`, of a user-assigned identity; None: the system-assigned one.
    """

    connection_string: Secret | None = None
    account_name: str | None = None
    blob_service_uri: str | None = None
    queue_service_uri: str | None = None
    table_service_uri: str | None = None
    client_id: str | None = None

    @property
    def is_set(self) -> bool:
        """Whether the app has such an account."""
        uris = (self.blob_service_uri, self.queue_service_uri, self.table_service_uri)
        return bool(self.connection_string or self.account_name or all(uris))


class Settings(_Variables):
    """The function app's environment, checked. A list that is None allows everything.

    Attributes:
        adls_account_url_default: account that a bare `adls_url` path belongs to, as
            `https://<account>.dfs.core.windows.net`.
        adls_filesystem_default: file system that a bare `adls_url` path belongs to.
        adls_connection_string: account key (or Azurite) for the account that it names; every other account
            is read with the function's own identity. Secret.
        adls_allowed_accounts: `account` or `account/filesystem`, the only ones that are read.
        csv_max_bytes: how large the CSV of an archive may be.
        csv_max_expansion: how many times the size of its archive a CSV may have.
        prepare_cpu_seconds: how much processor time may be spent on an archive before the database gets its rows, and
            how much on finding the line of a row that the database refused without naming it.
        spool_max_memory_bytes: how much CSV of a restore is held in memory before it goes to a temporary file.
        spool_max_archive_bytes: how large an archive may be to be gunzipped to memory or a temporary file; a larger one
            is streamed, unless the request says otherwise.
        libpq: what libpq's own variables say.
        pg_auth: how the function proves to PostgreSQL who it is, where the request does not say; None: by password.
        pg_entra_scope: what a token for PostgreSQL is asked for; None: by the host's cloud.
        pg_allowed_hosts: `host` or `host:port` in lower case, the only ones that are connected to.
        pg_allowed_databases: the only databases.
        pg_allowed_users: the only roles that the function's own password or token is used for; None: `PGUSER`, if it
            is set.
        pg_allow_unix_sockets: whether a host may be a folder.
        pg_allow_insecure_sslmode: whether `sslmode` may be below `require` for other hosts than this one.
        pg_connect_timeout_seconds: how long a connection to PostgreSQL may take.
        pg_lock_timeout_seconds: how long a restore waits for a lock that another session holds.
        pg_statement_timeout_seconds: how long one statement of a restore may take. Others may have to wait for the
            day's chunks for as long as its statements take together.
        pg_idle_session_seconds: how long sessions of a restore stay open for the next one; 0: not at all.
        pg_index_defer_min_bytes: how much CSV a day must have for its indexes to be dropped and built at the end.
        pg_index_memory_mib: what the build of one index may use (`maintenance_work_mem`), in MiB; None: it is chosen.
        pg_index_workers: how many parallel workers help it (`max_parallel_maintenance_workers`); None: the server's.
        allowed_targets: `schema.table` with `*` and `?`, the only tables that are written.
        show_row_data: whether answers and logs may hold values of rows.
        log_progress_seconds: how often a restore logs how far it is; 0: never.
        web_jobs_storage: the account in which asynchronous restores have their queue and their records.
        job_max_attempts: how often an asynchronous restore is tried whose error may pass.
        job_max_crashes: how often one may lose its worker.
        job_retention_days: how long the record of one that has ended is kept.
        restore_rules: which archives are restored without a call, as JSON; `shared/arrivals/rules.py` reads it.
        backfill_max_parallel: how many groups of days of one backfill may run at once.
        public_base_url: what the links of an answer begin with, up to and without `/restores`; None: as the caller
            reached the function.
    """

    adls_account_url_default: str | None = None
    adls_filesystem_default: str | None = None
    adls_connection_string: Secret | None = None
    adls_allowed_accounts: Annotated[
        AllowList, _items("<account> or <account>/<file system>", _ACCOUNT.fullmatch, str.lower)
    ] = None
    csv_max_bytes: Annotated[int, _whole(maximum=_MOST_BYTES)] = 20 * 1024 * MIB
    csv_max_expansion: Annotated[int, _whole(maximum=_MOST_EXPANSION)] = 200
    prepare_cpu_seconds: Annotated[int, _whole()] = 60
    spool_max_memory_bytes: Annotated[int, _whole(maximum=_MOST_BYTES)] = 100 * MIB
    spool_max_archive_bytes: Annotated[int, _whole(0, _MOST_BYTES)] = 64 * MIB
    libpq: LibpqVariables = LibpqVariables()
    pg_auth: Annotated[PgAuth | None, _one_of("password", "entra")] = None
    pg_entra_scope: str | None = None
    pg_allowed_hosts: Annotated[AllowList, _items("<host> or <host>:<port>", _HOST.fullmatch, _host)] = None
    pg_allowed_databases: Annotated[AllowList, _items()] = None
    pg_allowed_users: Annotated[AllowList, _items()] = None
    pg_allow_unix_sockets: Annotated[bool, _one_of("true", "false")] = False
    pg_allow_insecure_sslmode: Annotated[bool, _one_of("true", "false")] = False
    pg_connect_timeout_seconds: Annotated[int, _whole(minimum=2)] = 15
    pg_lock_timeout_seconds: Annotated[int, _whole()] = 30
    pg_statement_timeout_seconds: Annotated[int, _whole()] = 1800
    pg_idle_session_seconds: Annotated[int, _whole(0, _MOST_IDLE_SECONDS)] = 10
    pg_index_defer_min_bytes: Annotated[int, _whole(0, _MOST_BYTES)] = 2 * MIB
    pg_index_memory_mib: Annotated[int | None, _whole(maximum=_MOST_INDEX_MEMORY_MIB)] = None
    pg_index_workers: Annotated[int | None, _whole(0, _MOST_INDEX_WORKERS)] = None
    allowed_targets: Annotated[AllowList, _items("<schema>.<table>", lambda item: all(item.partition(".")))] = None
    show_row_data: Annotated[bool, _one_of("true", "false")] = False
    log_progress_seconds: Annotated[int, _whole(minimum=0)] = 10
    web_jobs_storage: WebJobsStorage = WebJobsStorage()
    job_max_attempts: Annotated[int, _whole(maximum=100)] = 8
    job_max_crashes: Annotated[int, _whole(maximum=100)] = 3
    job_retention_days: Annotated[int, _whole(maximum=3650)] = 30
    restore_rules: str | None = None
    backfill_max_parallel: Annotated[int, _whole(maximum=1000)] = 2
    public_base_url: Annotated[str | None, _url()] = None

    def allows(self, table: QualifiedName) -> bool:
        """Whether `allowed_targets` lets a table be written."""
        return self.allowed_targets is None or any(is_listed(table, pattern) for pattern in self.allowed_targets)


def _given(model: type[_Variables], environ: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """Find the variables of a model. An empty one counts as missing, but an empty allow list is a mistake."""
    return {
        name: text
        for name, field in model.model_fields.items()
        if name not in _ASSEMBLED
        and ((text := _text_of(environ, prefix + name.upper())) or (text is not None and field.annotation == AllowList))
    }


def _text_of(environ: Mapping[str, str], name: str) -> str | None:
    """Look a variable up. In text that is not UTF-8, Python has surrogates, which no server would understand."""
    text = environ.get(name)
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        # Without its cause, which holds the value.
        raise ConfigurationError(f"the setting {name} must be text in UTF-8", target=name) from None
    return text


def hide_from_libpq() -> None:
    """Take all of libpq's variables out of the environment that C sees; `os.environ` still has them for the settings.

    libpq takes what it is not given from there, and takes an empty value for one that is not given: the function's
    password could go to a server that a request names. What an operator sets reaches libpq as a keyword, or not at all.
    Processes that this one starts do not see them either.
    """
    for name in os.environ:
        if name.startswith("PG") and not name.startswith("PG_"):
            os.unsetenv(name)


# All variables that are read.
_NAMES = (
    "PGSERVICE",
    *_STRICTER,
    *(f"PG{name.upper()}" for name in LibpqVariables.model_fields.keys() - _ASSEMBLED),
    *(name.upper() for name in Settings.model_fields.keys() - _ASSEMBLED),
    *(f"{_STORAGE}{name}" for name in _WEB_JOBS_STORAGE),
)


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment.

    Args:
        environ: the variables, by default the process's own.

    Returns:
        The settings, each with its default where the variable is missing or empty.

    Raises:
        ConfigurationError: a variable holds something that is not of its kind; or an allow list is empty: one that was
            emptied by mistake must not allow everything, and one that allows nothing is a mistake too.
    """
    return _checked(tuple(environ.get(name) for name in _NAMES))


# A look at a monitor would take an eighth longer without it. What it keeps is in the environment as well.
@lru_cache(maxsize=1)
def _checked(values: tuple[str | None, ...]) -> Settings:
    """Check the values of the variables `_NAMES`. Raises as `load_settings`."""
    environ = {name: value for name, value in zip(_NAMES, values, strict=True) if value is not None}
    if environ.get("PGSERVICE"):
        # libpq would read a host from a file, and it could not be checked against the allow list.
        raise ConfigurationError("the setting PGSERVICE is not supported: set PGHOST and its like", target="PGSERVICE")
    libpq = _given(LibpqVariables, environ, "PG")
    libpq["others"] = {keyword: value for name, keyword in _STRICTER.items() if (value := _text_of(environ, name))}
    storage = {
        field: value for name, field in _WEB_JOBS_STORAGE.items() if (value := _text_of(environ, f"{_STORAGE}{name}"))
    }
    try:
        return Settings.model_validate(_given(Settings, environ) | {"libpq": libpq, "web_jobs_storage": storage})
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]).upper()
        # Without its cause, which holds the value.
        raise ConfigurationError(f"the setting {name} must be {fault['ctx']['error']}", target=name) from None


def function_timeout(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return what overrides `functionTimeout` of host.json; None if nothing does.

    https://learn.microsoft.com/azure/azure-functions/functions-host-json#override-hostjson-values
    """
    return environ.get("AzureFunctionsJobHost__functionTimeout") or None
