"""Combines the request's `pg` with the app settings, and checks the result: server, role and TLS. Pure.

libpq itself would take omitted parameters from the environment, the function's own password included, and send them to
any host that the request names. So this module determines and checks all parameters before libpq gets them.

With `sslrootcert=system`, libpq uses the root certificates of the OpenSSL that it was linked with. The OpenSSL of
psycopg2-binary looks into the folder in which the wheel was built, and finds nothing
(`OPENSSLDIR: "/host/tmp/libpq.build"` in 2.9.13). So libpq is given the path of the file instead.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from shared.errors import (
    ConfigurationError,
    DatabaseHostNotAllowed,
    DatabaseNotAllowed,
    DatabaseUserNotAllowed,
    Fault,
    InvalidRequest,
    SslModeNotAllowed,
)
from shared.identity import CLOUDS, PUBLIC, Cloud, cloud_of_postgres
from shared.postgres.uri import SslMode, check_hosts, is_socket
from shared.secret import Secret
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


_DEFAULT_PORT = "5432"
# libpq passes over files that do not exist, except for `sslrootcert` with verify-ca and verify-full.
_NO_FILE = "/dev/null/none"


class Servers:
    """The hosts that libpq will try, in order.

    Args:
        given: the request's parameters, by libpq's keywords.
        own: the settings' parameters.

    Attributes:
        pairs: host and port of each server; names in lower case.
        hosts: the hosts without ports.
        is_own: whether all are servers of the settings.
        hostaddr: the address that the settings give for their own host; empty for any other host.

    Raises:
        InvalidRequest: there is no host, or the number of ports does not match that of the hosts.
        ConfigurationError: PGHOST or PGPORT cannot be used.
    """

    def __init__(self, given: Mapping[str, str], own: LibpqVariables) -> None:
        known = _own_pairs(own)
        hosts = given.get("host") or own.host
        if not hosts:
            raise missing_field("pg.host", "no server is named: give pg.host, or set PGHOST")
        try:
            self.pairs = _pairs(hosts, given.get("port") or own.port)
        except ValueError:
            raise missing_field("pg.port", "give one port, or one for each host") from None
        self.hosts = [host for host, _ in self.pairs]
        self.is_own = set(self.pairs) <= set(known)
        # PGHOSTADDR gives one address for each host of PGHOST, and applies to no other host.
        self.hostaddr = (own.hostaddr or "") if self.pairs == known else ""

    @property
    def is_here(self) -> bool:
        """Whether all hosts are this machine, so that no network is involved."""
        addresses = self.hostaddr.split(",") if self.hostaddr else []
        return all(is_socket(host) or _is_loopback(host) for host in (*self.hosts, *addresses))

    def is_listed(self, listed: Sequence[str] | None) -> bool:
        """Whether an allow list names all hosts."""
        known = set(listed or ())
        return all(not known.isdisjoint(_written(host, port)) for host, port in self.pairs)

    def is_trusted(self, settings: Settings) -> bool:
        """Whether the hosts may receive the function's own password."""
        return self.is_own or (settings.pg_allowed_hosts is not None and self.is_listed(settings.pg_allowed_hosts))

    def refuse_unlisted(self, settings: Settings) -> None:
        """Refuse hosts that the settings do not allow.

        Raises:
            DatabaseHostNotAllowed: one of the hosts is not listed, or is a socket.
        """
        if any(is_socket(host) for host in self.hosts) and not settings.pg_allow_unix_sockets:
            raise DatabaseHostNotAllowed(
                "this function does not connect to unix sockets",
                hint="an operator can allow it with the setting PG_ALLOW_UNIX_SOCKETS",
            )
        if settings.pg_allowed_hosts is not None and not self.is_listed(settings.pg_allowed_hosts):
            raise DatabaseHostNotAllowed("this function may not connect to the host")
        if settings.pg_allowed_hosts is None and settings.libpq.host is not None and not self.is_own:
            # Rows need as much protection as a password: without a list, only the settings' own server is allowed.
            raise DatabaseHostNotAllowed(
                "the host differs from the setting PGHOST; another host needs PG_ALLOWED_HOSTS"
            )


def _pairs(hosts: str, ports: str | None) -> list[tuple[str, str]]:
    """Pair each host with its port. Names are put in lower case; socket folders are case-sensitive."""
    named = [host if is_socket(host) else host.lower() for host in hosts.split(",")]
    numbers = [port or _DEFAULT_PORT for port in (ports or "").split(",")]
    return list(zip(named, numbers * len(named) if len(numbers) == 1 else numbers, strict=True))


def _own_pairs(own: LibpqVariables) -> list[tuple[str, str]]:
    if own.host is None:
        return []
    try:
        return _pairs(check_hosts(own.host), own.port)
    except ValueError:
        raise ConfigurationError("the settings PGHOST and PGPORT are not valid", target="PGHOST") from None


def _written(host: str, port: str) -> set[str]:
    """Return all forms in which an allow list may write a host."""
    if ":" in host:
        # An IPv6 address: without brackets its last part could be a port.
        return {host, f"[{host}]", f"[{host}]:{port}"}
    return {host, f"{host}:{port}"}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def missing_field(target: str, message: str) -> InvalidRequest:
    """Return the error for a field that neither the request nor the settings give."""
    return InvalidRequest(message, target=target, details=[Fault("MissingField", message, target)])


_SSL_MODES: tuple[str, ...] = get_args(SslMode)  # the weakest first
_LEAST_SSL_MODE = _SSL_MODES.index("require")


@dataclass(frozen=True)
class Endpoint:
    """A server and how to log in, as allowed by the settings.

    Attributes:
        parameters: libpq's keywords and their values, without a password.
        auth: by a password, or by a token of the function's own identity.
        password: the password; None if there is none.
        is_own: whether the password is the function's own, and not the request's.
        scope: the scope of the token.
        cloud: its authority signs the token.
    """

    parameters: Mapping[str, str]
    auth: PgAuth
    password: Secret | None
    is_own: bool
    scope: str
    cloud: Cloud

    @property
    def database(self) -> str:
        """Name of the database."""
        return self.parameters["dbname"]

    def with_password(self, password: Secret | None) -> dict[str, Any]:
        """Return the parameters for `psycopg2.connect`."""
        # No empty value: libpq treats it as missing, and looks for another one.
        given = {keyword: value for keyword, value in self.parameters.items() if value != ""}
        # Files in the home directory have no effect: ~/.pgpass, ~/.postgresql.
        given = {"sslrootcert": _NO_FILE, **given, "passfile": _NO_FILE, "sslcrl": _NO_FILE, "sslcertmode": "disable"}
        return given if password is None else {**given, "password": password.get_secret_value()}


def find_endpoint(given: Mapping[str, str], auth: PgAuth | None, settings: Settings, *, database: str) -> Endpoint:
    """Combine request and settings.

    Args:
        given: the request's parameters, by libpq's keywords.
        auth: the request's authentication method; None: the settings decide.
        settings: supplies what the request omits, and says what is allowed.
        database: the database of the archive's path, used if the request names none.

    Raises:
        InvalidRequest: there is no host, or no role for a token.
        DatabaseHostNotAllowed: the function may not connect to the host, or may not send it a token.
        DatabaseNotAllowed: the settings do not list the database.
        DatabaseUserNotAllowed: the role may not be used with the function's own password or token.
        SslModeNotAllowed: the connection would be less secure than required.
        ConfigurationError: a libpq setting cannot be used.
    """
    own = settings.libpq
    servers = Servers(given, own)
    servers.refuse_unlisted(settings)
    auth = auth or ("password" if given.get("password") else settings.pg_auth or "password")
    cloud = PUBLIC
    if auth == "entra":
        cloud = _cloud_of_token(servers, settings)
        if not (given.get("user") or own.user):
            raise missing_field("pg.user", 'auth "entra" needs a role name in pg.user or in the setting PGUSER')
    database = given.get("dbname", database)
    if settings.pg_allowed_databases is not None and database not in settings.pg_allowed_databases:
        raise DatabaseNotAllowed(f"this function may not write to the database {database}")
    sslmode = _sslmode(given, servers, settings, auth)
    parameters = {
        # Disable Kerberos: libpq would offer it to any server that asks.
        "require_auth": "!gss,!sspi",
        **{keyword: value for keyword, value in given.items() if keyword != "password"},
        **own.others,
        "dbname": database,
        "host": ",".join(servers.hosts),
        "port": ",".join(port for _, port in servers.pairs),
        "hostaddr": servers.hostaddr,
        "sslmode": sslmode,
        # Kerberos encryption instead of TLS would satisfy every sslmode.
        "gssencmode": "disable",
        # The last value wins, so a request cannot override the operator's options.
        "options": " ".join(filter(None, (given.get("options"), own.options))),
    }
    trusted = servers.is_trusted(settings)
    if own.user and "user" not in given:
        parameters["user"] = own.user
    password = _password(given, own if trusted else None) if auth == "password" else None
    is_own = password is not None and not given.get("password")
    if auth == "entra" or is_own:
        _refuse_user(parameters.get("user"), settings)
    if sslmode.startswith("verify-"):
        parameters["sslrootcert"] = _roots(own)
    if parameters.get("sslnegotiation") == "direct" and _SSL_MODES.index(sslmode) < _LEAST_SSL_MODE:
        raise SslModeNotAllowed("sslnegotiation=direct needs sslmode require or stricter")
    if "sslrootcert" in given and not sslmode.startswith("verify-"):
        raise SslModeNotAllowed("sslrootcert=system needs sslmode=verify-full")
    return Endpoint(
        parameters,
        auth,
        password,
        is_own,
        settings.pg_entra_scope or cloud.postgres_scope,
        cloud,
    )


def _refuse_user(user: str | None, settings: Settings) -> None:
    """Refuse another role than the operator's for the function's own password or token.

    Raises:
        DatabaseUserNotAllowed: the request names another one.
    """
    own = settings.libpq.user
    allowed = settings.pg_allowed_users if settings.pg_allowed_users is not None else ((own,) if own else None)
    if allowed is not None and user not in allowed:
        raise DatabaseUserNotAllowed("the function's own password or token is not used for this role")


def _cloud_of_token(servers: Servers, settings: Settings) -> Cloud:
    """Return the cloud whose token the servers get. Refuse a server that must not receive one."""
    clouds = [cloud_of_postgres(host) for host in servers.hosts]
    if any(is_socket(host) for host in servers.hosts) or not (
        all(clouds) or servers.is_listed(settings.pg_allowed_hosts)
    ):
        raise DatabaseHostNotAllowed(
            "a token is sent only to Azure Database for PostgreSQL and to hosts that PG_ALLOWED_HOSTS lists"
        )
    asked = [cloud for cloud in CLOUDS if cloud.postgres_scope == settings.pg_entra_scope]
    found = {cloud for cloud in clouds if cloud is not None}
    if len(found) > 1:
        raise DatabaseHostNotAllowed("the hosts are in different clouds, but a token is valid in only one")
    return next(iter([*found, *asked]), PUBLIC)


def _password(given: Mapping[str, str], own: LibpqVariables | None) -> Secret | None:
    if given.get("password"):
        return Secret(given["password"])
    # A request must not be able to send the function's password to a server of the caller's choice.
    return None if own is None else own.password


def _sslmode(given: Mapping[str, str], servers: Servers, settings: Settings, auth: PgAuth) -> str:
    """Return the `sslmode`; refuse one that is too weak."""
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


def _roots(own: LibpqVariables) -> str:
    """Return the path of the trusted root certificates."""
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
