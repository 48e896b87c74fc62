"""The function app's settings. The only reader of the environment; everything else is given a `Settings`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import ConfigurationError

MIB = 1024 * 1024

_MOST_DIGITS = 15
_MOST_BYTES = 1024 * 1024 * MIB
# A day. No function runs longer, and PostgreSQL's own timeouts end at 24 days.
_MOST_SECONDS = 86_400


@dataclass(frozen=True)
class Settings:
    """What the function app is told by its environment, checked.

    libpq's own variables (`PGHOST`, `PGUSER`, `PGPASSWORD`, `PGSSLMODE`, ...) are not here: libpq reads them.

    Attributes:
        adls_account_url_default: account that a bare `adls_url` path belongs to, as
            `https://<account>.dfs.core.windows.net`.
        adls_filesystem_default: file system that a bare `adls_url` path belongs to.
        adls_connection_string: account key (or Azurite) for the account that it names; every other account
            is read with the function's own identity. Secret.
        spool_max_memory_bytes: how much unpacked CSV is held in memory before it goes to the temporary disk.
        pg_connect_timeout_seconds: how long a connection to PostgreSQL may take.
        pg_lock_timeout_seconds: how long a restore waits for a lock that another session holds.
        pg_statement_timeout_seconds: how long one statement of a restore may take, and so how long a restore can
            keep others from its chunks.
    """

    adls_account_url_default: str | None = None
    adls_filesystem_default: str | None = None
    adls_connection_string: str | None = None
    spool_max_memory_bytes: int = 100 * MIB
    pg_connect_timeout_seconds: int = 15
    pg_lock_timeout_seconds: int = 30
    pg_statement_timeout_seconds: int = 1800

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
    return Settings(
        adls_account_url_default=environ.get("ADLS_ACCOUNT_URL_DEFAULT") or None,
        adls_filesystem_default=environ.get("ADLS_FILESYSTEM_DEFAULT") or None,
        adls_connection_string=environ.get("ADLS_CONNECTION_STRING") or None,
        spool_max_memory_bytes=_whole_number(
            environ, "SPOOL_MAX_MEMORY_BYTES", default=100 * MIB, minimum=1, maximum=_MOST_BYTES
        ),
        pg_connect_timeout_seconds=_whole_number(environ, "PG_CONNECT_TIMEOUT_SECONDS", default=15, minimum=2),
        pg_lock_timeout_seconds=_whole_number(environ, "PG_LOCK_TIMEOUT_SECONDS", default=30, minimum=1),
        pg_statement_timeout_seconds=_whole_number(environ, "PG_STATEMENT_TIMEOUT_SECONDS", default=1800, minimum=1),
    )


def _whole_number(
    environ: Mapping[str, str], name: str, *, default: int, minimum: int, maximum: int = _MOST_SECONDS
) -> int:
    text = environ.get(name) or ""
    if not text:
        return default
    # isdecimal keeps out "1_000" and " 5 ", which int() would take.
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS
    if not is_number or not minimum <= int(text) <= maximum:
        raise ConfigurationError(f"the setting {name} must be a whole number from {minimum} to {maximum}", target=name)
    return int(text)
