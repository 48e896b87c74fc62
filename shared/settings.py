"""The function app's settings. The only reader of the environment; everything else is given a `Settings`.

A setting that cannot be read is named in the error, and its value never is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from shared.errors import ConfigurationError
from shared.process import MIB
from shared.secret import Secret

PgAuth = Literal["password", "entra"]
N = TypeVar("N", int, int | None)

_MOST_DIGITS = 15
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}(?:\.[a-z0-9.]+)?(?:/[a-z0-9$-]{3,63})?", re.ASCII)
_HOST = re.compile(r"[a-z0-9._-]+(?::[0-9]{1,5})?|\[?[0-9a-f:.]+\]?|\[[0-9a-f:.]+\]:[0-9]{1,5}|/.*", re.ASCII)


def whole_number(name: str, text: str | None, *, default: N, minimum: int, maximum: int) -> int | N:
    """Read a whole number.

    Args:
        name: of the setting.
        text: what it holds; None: it is missing.
        default: the value of a missing one.
        minimum: the smallest value that it may have.
        maximum: the largest.

    Raises:
        ConfigurationError: it is something else.
    """
    if text is None:
        return default
    # isdecimal keeps out "1_000" and " 5 ", which int() would take.
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not is_number or not minimum <= int(text) <= maximum:
        raise ConfigurationError(f"the setting {name} must be a whole number from {minimum} to {maximum}", target=name)
    return int(text)


def flag(name: str, text: str | None) -> bool:
    """Read `true` or `false`; a missing one is false."""
    value = {None: False, "false": False, "true": True}.get(text if text is None else text.lower())
    if value is None:
        raise ConfigurationError(f"the setting {name} must be true or false", target=name)
    return value


def pg_auth(name: str, text: str | None) -> PgAuth | None:
    """Read `password` or `entra`."""
    values: dict[str, PgAuth] = {"password": "password", "entra": "entra"}
    if text is None:
        return None
    if text.lower() not in values:
        raise ConfigurationError(f"the setting {name} must be password or entra", target=name)
    return values[text.lower()]


def secret(text: str | None) -> Secret | None:
    """Keep a text secret from here on."""
    return None if text is None else Secret(text)


def names(
    name: str, text: str | None, check: Callable[[str], bool] = bool, what: str = "names"
) -> tuple[str, ...] | None:
    """Read a list with commas between its items.

    Args:
        name: of the setting.
        text: what it holds; None: it is missing.
        check: whether an item is of its kind.
        what: the kind, for the error.

    Returns:
        The items; None where the setting is missing, which allows everything.

    Raises:
        ConfigurationError: an item is not of its kind, or there is none: an allow list that was emptied by mistake must
            not allow everything, and one that allows nothing is a mistake too. So an empty setting is no missing one.
    """
    if text is None:
        return None
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items or not all(check(item) for item in items):
        raise ConfigurationError(f"the setting {name} must be a list of {what} with commas between them", target=name)
    return items


def accounts(name: str, text: str | None) -> tuple[str, ...] | None:
    """Read storage accounts: `account` or its whole host, each with `/filesystem` or without."""
    kind = "<account> or <account>/<file system>"
    return names(name, text and text.lower(), lambda item: _ACCOUNT.fullmatch(item) is not None, kind)


def hosts(name: str, text: str | None) -> tuple[str, ...] | None:
    """Read hosts of PostgreSQL: `host` or `host:port`."""
    found = names(name, text, lambda item: _HOST.fullmatch(item.lower()) is not None, "<host> or <host>:<port>")
    # Names are the same in upper and lower case, folders are not.
    return found and tuple(item if item.startswith("/") else item.lower() for item in found)


def targets(name: str, text: str | None) -> tuple[str, ...] | None:
    """Read tables: `schema.table`, with `*` for any text and `?` for one character."""
    return names(name, text, lambda item: all(item.partition(".")), "<schema>.<table>")


_MOST_BYTES = 1024 * 1024 * MIB
# A day. No function runs longer, and PostgreSQL's own timeouts end at 24 days.
_MOST_SECONDS = 86_400
# DEFLATE itself ends at 1032: https://zlib.net/zlib_tech.html
_MOST_EXPANSION = 1032
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


@dataclass(frozen=True)
class LibpqVariables:
    """What libpq would take from its environment by itself, as far as it must be known before a connection is made.

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
        others: what else is stricter by the operator's will, by libpq's keywords; a request does not change it.
    """

    host: str | None = None
    hostaddr: str | None = None
    port: str | None = None
    user: str | None = None
    password: Secret | None = None
    sslmode: str | None = None
    sslrootcert: str | None = None
    options: str | None = None
    others: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name no value: a password that was put into the wrong setting is one, too."""
        return "LibpqVariables(...)"


@dataclass(frozen=True)
class Settings:
    """What the function app is told by its environment, checked. A list that is None allows everything.

    Attributes:
        adls_account_url_default: account that a bare `adls_url` path belongs to, as
            `https://<account>.dfs.core.windows.net`.
        adls_filesystem_default: file system that a bare `adls_url` path belongs to.
        adls_connection_string: account key (or Azurite) for the account that it names; every other account
            is read with the function's own identity. Secret.
        adls_allowed_accounts: `account` or `account/filesystem`, the only ones that are read.
        csv_max_bytes: how large an unpacked archive may be.
        csv_max_expansion: how many times the size of its archive a CSV may have.
        spool_max_memory_bytes: how much unpacked CSV is held in memory before it goes to the temporary disk.
        spool_max_archive_bytes: how large an archive may be to be unpacked to the temporary disk; a larger one is
            streamed, unless the request says otherwise.
        libpq: what libpq's own variables say.
        pg_auth: how the function proves to PostgreSQL who it is, where the request does not say; None: by password.
        pg_entra_scope: what a token for PostgreSQL is asked for; None: by the host's cloud.
        pg_allowed_hosts: `host` or `host:port` in lower case, the only ones that are connected to.
        pg_allowed_databases: the only databases.
        pg_allow_unix_sockets: whether a host may be a folder.
        pg_allow_insecure_sslmode: whether `sslmode` may be below `require` for other hosts than this one.
        pg_connect_timeout_seconds: how long a connection to PostgreSQL may take.
        pg_lock_timeout_seconds: how long a restore waits for a lock that another session holds.
        pg_statement_timeout_seconds: how long one statement of a restore may take, and so how long a restore can
            keep others from its chunks.
        pg_index_memory_mib: what the build of one index may use (`maintenance_work_mem`), in MiB; None: the server's.
        pg_index_workers: how many parallel workers help it (`max_parallel_maintenance_workers`); None: the server's.
        allowed_targets: `schema.table` with `*` and `?`, the only tables that are written.
        log_progress_seconds: how often a running restore logs how far it is; 0: never.
        show_row_data: whether answers and logs may hold values of rows.
    """

    adls_account_url_default: str | None = None
    adls_filesystem_default: str | None = None
    adls_connection_string: Secret | None = None
    adls_allowed_accounts: tuple[str, ...] | None = None
    csv_max_bytes: int = 20 * 1024 * MIB
    csv_max_expansion: int = 200
    spool_max_memory_bytes: int = 100 * MIB
    spool_max_archive_bytes: int = 64 * MIB
    libpq: LibpqVariables = field(default_factory=LibpqVariables)
    pg_auth: PgAuth | None = None
    pg_entra_scope: str | None = None
    pg_allowed_hosts: tuple[str, ...] | None = None
    pg_allowed_databases: tuple[str, ...] | None = None
    pg_allow_unix_sockets: bool = False
    pg_allow_insecure_sslmode: bool = False
    pg_connect_timeout_seconds: int = 15
    pg_lock_timeout_seconds: int = 30
    pg_statement_timeout_seconds: int = 1800
    pg_index_memory_mib: int | None = None
    pg_index_workers: int | None = None
    allowed_targets: tuple[str, ...] | None = None
    log_progress_seconds: int = 10
    show_row_data: bool = False

    def __repr__(self) -> str:
        """Name no value: some of them are secrets."""
        return "Settings(...)"


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings from the environment.

    Args:
        environ: the variables, by default the process's own.

    Returns:
        The settings, each with its default where the variable is missing or empty.

    Raises:
        ConfigurationError: a variable holds something that is not of its kind.
    """
    default = Settings()

    def text(name: str) -> str | None:
        return environ.get(name) or None

    def number(name: str, default: N, minimum: int = 1, maximum: int = _MOST_SECONDS) -> int | N:
        return whole_number(name, text(name), default=default, minimum=minimum, maximum=maximum)

    if text("PGSERVICE"):
        # libpq would read a host from a file, and nobody could say whether it is one that is allowed.
        raise ConfigurationError("the setting PGSERVICE is not supported: set PGHOST and its like", target="PGSERVICE")
    return Settings(
        adls_account_url_default=text("ADLS_ACCOUNT_URL_DEFAULT"),
        adls_filesystem_default=text("ADLS_FILESYSTEM_DEFAULT"),
        adls_connection_string=secret(text("ADLS_CONNECTION_STRING")),
        adls_allowed_accounts=accounts("ADLS_ALLOWED_ACCOUNTS", environ.get("ADLS_ALLOWED_ACCOUNTS")),
        csv_max_bytes=number("CSV_MAX_BYTES", default.csv_max_bytes, maximum=_MOST_BYTES),
        csv_max_expansion=number("CSV_MAX_EXPANSION", default.csv_max_expansion, maximum=_MOST_EXPANSION),
        spool_max_memory_bytes=number("SPOOL_MAX_MEMORY_BYTES", default.spool_max_memory_bytes, maximum=_MOST_BYTES),
        spool_max_archive_bytes=number(
            "SPOOL_MAX_ARCHIVE_BYTES", default.spool_max_archive_bytes, minimum=0, maximum=_MOST_BYTES
        ),
        libpq=LibpqVariables(
            host=text("PGHOST"),
            hostaddr=text("PGHOSTADDR"),
            port=text("PGPORT"),
            user=text("PGUSER"),
            password=secret(text("PGPASSWORD")),
            sslmode=text("PGSSLMODE"),
            sslrootcert=text("PGSSLROOTCERT"),
            options=text("PGOPTIONS"),
            others={keyword: value for name, keyword in _STRICTER.items() if (value := text(name))},
        ),
        pg_auth=pg_auth("PG_AUTH", text("PG_AUTH")),
        pg_entra_scope=text("PG_ENTRA_SCOPE"),
        pg_allowed_hosts=hosts("PG_ALLOWED_HOSTS", environ.get("PG_ALLOWED_HOSTS")),
        pg_allowed_databases=names("PG_ALLOWED_DATABASES", environ.get("PG_ALLOWED_DATABASES")),
        pg_allow_unix_sockets=flag("PG_ALLOW_UNIX_SOCKETS", text("PG_ALLOW_UNIX_SOCKETS")),
        pg_allow_insecure_sslmode=flag("PG_ALLOW_INSECURE_SSLMODE", text("PG_ALLOW_INSECURE_SSLMODE")),
        pg_connect_timeout_seconds=number("PG_CONNECT_TIMEOUT_SECONDS", default.pg_connect_timeout_seconds, minimum=2),
        pg_lock_timeout_seconds=number("PG_LOCK_TIMEOUT_SECONDS", default.pg_lock_timeout_seconds),
        pg_statement_timeout_seconds=number("PG_STATEMENT_TIMEOUT_SECONDS", default.pg_statement_timeout_seconds),
        pg_index_memory_mib=number("PG_INDEX_MEMORY_MIB", None, maximum=_MOST_INDEX_MEMORY_MIB),
        pg_index_workers=number("PG_INDEX_WORKERS", None, minimum=0, maximum=_MOST_INDEX_WORKERS),
        allowed_targets=targets("ALLOWED_TARGETS", environ.get("ALLOWED_TARGETS")),
        log_progress_seconds=number("LOG_PROGRESS_SECONDS", default.log_progress_seconds, minimum=0),
        show_row_data=flag("SHOW_ROW_DATA", text("SHOW_ROW_DATA")),
    )
