"""How a connection to PostgreSQL is encrypted, and which certificates are trusted.

With `sslrootcert=system`, libpq uses the root certificates of the OpenSSL that it was linked with. The OpenSSL of
psycopg2-binary looks into the folder in which the wheel was built, and finds nothing
(`OPENSSLDIR: "/host/tmp/libpq.build"` in 2.9.13). So libpq is given the path of the file instead.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from shared.errors import ConfigurationError, SslModeNotAllowed
from shared.postgres.servers import Servers
from shared.postgres.uri import SslMode
from shared.settings import LibpqVariables, PgAuth, Settings

# Where distributions keep all root certificates in one file, as in https://go.dev/src/crypto/x509/root_linux.go.
_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu: the images of Azure Functions
    "/etc/pki/tls/certs/ca-bundle.crt",  # Azure Linux, Fedora
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/cert.pem",  # Alpine
)


def find_system_roots() -> str | None:
    """Return the path of the machine's root certificates; None if there is none. `SSL_CERT_FILE` comes first."""
    known = ssl.get_default_verify_paths().cafile
    return next((path for path in (known, *_FILES) if path and Path(path).is_file()), None)


_SSL_MODES: tuple[str, ...] = get_args(SslMode)  # the weakest first
_LEAST_SSL_MODE = _SSL_MODES.index("require")


def decide_sslmode(given: Mapping[str, str], servers: Servers, settings: Settings, auth: PgAuth) -> str:
    """Return the `sslmode`.

    Raises:
        SslModeNotAllowed: the request's one is too weak for the server.
        ConfigurationError: that of the settings is too weak, or unknown.
    """
    own = settings.libpq.sslmode
    if own is not None and own not in _SSL_MODES:
        raise ConfigurationError(f"the setting PGSSLMODE must be one of {', '.join(_SSL_MODES)}", target="PGSSLMODE")
    is_lax = (servers.is_here or settings.pg_allow_insecure_sslmode) and auth == "password"
    least = 0 if is_lax else _LEAST_SSL_MODE
    if "sslmode" not in given:
        if given.get("sslrootcert"):
            return "verify-full"
        if own is None:
            return "prefer" if is_lax else "require"
        if _SSL_MODES.index(own) < least:
            raise ConfigurationError(
                f"the setting PGSSLMODE is {own}, but this server needs at least require",
                target="PGSSLMODE",
                hint="set PGSSLMODE to verify-full, or PG_ALLOW_INSECURE_SSLMODE to true if the network is safe",
            )
        return own
    if own is not None and not servers.is_here:
        least = max(least, _SSL_MODES.index(own))
    if _SSL_MODES.index(given["sslmode"]) < least:
        raise SslModeNotAllowed(f"sslmode must be {_SSL_MODES[least]} or stricter for this server")
    return given["sslmode"]


def refuse_unsafe_tls(parameters: Mapping[str, str], given: Mapping[str, str], sslmode: str) -> None:
    """Refuse a connection that would be less secure than its parameters say.

    Args:
        parameters: those of the connection.
        given: the request's own.
        sslmode: that of the connection.

    Raises:
        SslModeNotAllowed: it would.
    """
    if parameters.get("sslnegotiation") == "direct" and _SSL_MODES.index(sslmode) < _LEAST_SSL_MODE:
        raise SslModeNotAllowed("sslnegotiation=direct needs sslmode require or stricter")
    if "sslrootcert" in given and not sslmode.startswith("verify-"):
        raise SslModeNotAllowed("sslrootcert=system needs sslmode=verify-full")


def trusted_roots(own: LibpqVariables) -> str:
    """Return the path of the trusted root certificates.

    Raises:
        ConfigurationError: the settings name none, and this machine has none.
    """
    if own.sslrootcert and own.sslrootcert != "system":
        return own.sslrootcert
    roots = find_system_roots()
    if roots is None:
        raise ConfigurationError(
            "no root certificates were found on this machine",
            target="PGSSLROOTCERT",
            hint="set PGSSLROOTCERT to a file with the trusted certificates",
        )
    return roots
