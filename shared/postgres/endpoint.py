"""Which server a restore goes to, as whom, and how safely: the request's `pg` over the app settings. Pure.

libpq would take what a request leaves out from its environment by itself, the function's own password included, and
send it to whatever host the request names. So all of it is put together here, and looked at, before libpq hears of it.

libpq's own word for this machine's root certificates, `sslrootcert=system`, asks the OpenSSL that it was linked with.
That of psycopg2-binary looks into the folder in which the wheel was built, and finds nothing
(`OPENSSLDIR: "/host/tmp/libpq.build"` in 2.9.13). So the file is named to libpq.
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
    Fault,
    InvalidRequest,
    SslModeNotAllowed,
)
from shared.identity import CLOUDS, PUBLIC, Cloud, cloud_of_postgres
from shared.postgres.uri import SslMode, check_hosts, is_socket
from shared.secret import Secret
from shared.settings import LibpqVariables, PgAuth, Settings

# Where distributions keep them all in one file: https://go.dev/src/crypto/x509/root_linux.go lists the same.
_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu: the images of Azure Functions
    "/etc/pki/tls/certs/ca-bundle.crt",  # Azure Linux, Fedora
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL
    "/etc/ssl/cert.pem",  # Alpine
)


def find_system_roots() -> str | None:
    """Return the path of the file; None where there is none. `SSL_CERT_FILE` comes first, as everywhere."""
    known = ssl.get_default_verify_paths().cafile
    return next((path for path in (known, *_FILES) if path and Path(path).is_file()), None)


_DEFAULT_PORT = "5432"


class Servers:
    """The hosts that libpq will try, in order.

    Args:
        given: what the request says, by libpq's keywords.
        own: what the settings say.

    Attributes:
        pairs: host and port of each; names in lower case.
        hosts: the hosts alone.
        is_own: whether they are those of the settings.
        hostaddr: where the settings say that their host is; empty for every other one.

    Raises:
        InvalidRequest: no host, or as many ports as there are hosts.
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
            raise missing_field("pg.port", "there must be one port, or one for each host") from None
        self.hosts = [host for host, _ in self.pairs]
        self.is_own = set(self.pairs) <= set(known)
        # PGHOSTADDR says where PGHOST is, one by one, and nothing of any other host.
        self.hostaddr = (own.hostaddr or "") if self.pairs == known else ""

    @property
    def is_here(self) -> bool:
        """Whether every one of them is this very machine, so that there is no network to listen on."""
        addresses = self.hostaddr.split(",") if self.hostaddr else []
        return all(is_socket(host) or _is_loopback(host) for host in (*self.hosts, *addresses))

    def is_listed(self, listed: Sequence[str] | None) -> bool:
        """Whether an allow list names every one of them."""
        known = set(listed or ())
        return all(not known.isdisjoint(_written(host, port)) for host, port in self.pairs)

    def is_trusted(self, settings: Settings) -> bool:
        """Whether they may see what is the function's own: its password, its certificate."""
        return self.is_own or (settings.pg_allowed_hosts is not None and self.is_listed(settings.pg_allowed_hosts))

    def refuse_unlisted(self, settings: Settings) -> None:
        """Refuse what the settings do not allow to connect to.

        Raises:
            DatabaseHostNotAllowed: one of the hosts is not listed, or is a socket.
        """
        if any(is_socket(host) for host in self.hosts) and not settings.pg_allow_unix_sockets:
            raise DatabaseHostNotAllowed(
                "a unix socket is not a host that this function connects to",
                hint="an operator can allow it with the setting PG_ALLOW_UNIX_SOCKETS",
            )
        if settings.pg_allowed_hosts is not None and not self.is_listed(settings.pg_allowed_hosts):
            raise DatabaseHostNotAllowed("the host is not one that this function may connect to")
        if settings.pg_allowed_hosts is None and settings.libpq.host is not None and not self.is_own:
            # Rows are worth as much as a password: without a list, the settings' server is the only one.
            raise DatabaseHostNotAllowed("the setting PGHOST names the server; another one takes PG_ALLOWED_HOSTS")


def _pairs(hosts: str, ports: str | None) -> list[tuple[str, str]]:
    """Give each host its port. Names are the same in upper and lower case, folders are not."""
    named = [host if is_socket(host) else host.lower() for host in hosts.split(",")]
    numbers = [port or _DEFAULT_PORT for port in (ports or "").split(",")]
    return list(zip(named, numbers * len(named) if len(numbers) == 1 else numbers, strict=True))


def _own_pairs(own: LibpqVariables) -> list[tuple[str, str]]:
    if own.host is None:
        return []
    try:
        return _pairs(check_hosts(own.host), own.port)
    except ValueError:
        raise ConfigurationError("the settings PGHOST and PGPORT do not name servers", target="PGHOST") from None


def _written(host: str, port: str) -> set[str]:
    """Every way in which an allow list may write a host."""
    if ":" in host:
        # An address: without brackets nobody could tell its last part from a port.
        return {host, f"[{host}]", f"[{host}]:{port}"}
    return {host, f"{host}:{port}"}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def missing_field(target: str, message: str) -> InvalidRequest:
    """Make the error of a field that neither the request nor the settings give."""
    return InvalidRequest(message, target=target, details=[Fault("MissingField", message, target)])


_SSL_MODES: tuple[str, ...] = get_args(SslMode)  # the weakest first
_LEAST_SSL_MODE = _SSL_MODES.index("require")


@dataclass(frozen=True)
class Endpoint:
    """A server and a way in, allowed by the settings.

    Attributes:
        parameters: libpq's keywords and their values, without a password.
        auth: by a password, or by a token of the function's own identity.
        password: for the one; None where there is none.
        scope: for the other: what the token is asked for.
        cloud: whose authority signs it.
    """

    parameters: Mapping[str, str]
    auth: PgAuth
    password: Secret | None
    scope: str
    cloud: Cloud

    @property
    def database(self) -> str:
        """Name of the database."""
        return self.parameters["dbname"]

    def with_password(self, password: Secret | None) -> dict[str, Any]:
        """Return what `psycopg2.connect` is given."""
        if password is not None:
            return {**self.parameters, "password": password.get_secret_value()}
        # An empty password keeps libpq from PGPASSWORD, and a file that is not there from ~/.pgpass: whose password
        # it was to be has been decided.
        return {**self.parameters, "password": "", "passfile": "/dev/null/none"}


def find_endpoint(given: Mapping[str, str], auth: PgAuth | None, settings: Settings, *, database: str) -> Endpoint:
    """Put request and settings together.

    Args:
        given: what the request says, by libpq's keywords.
        auth: the way in that the request names; None: it leaves the choice to the settings.
        settings: what it leaves out, and what is allowed.
        database: the one that the archive's path names, for where the request names none.

    Raises:
        InvalidRequest: no host, or no role for a token.
        DatabaseHostNotAllowed: the host is not one that may be connected to, or may see a token.
        DatabaseNotAllowed: the settings list other databases.
        SslModeNotAllowed: the connection would be less safe than it has to be.
        ConfigurationError: a setting of libpq's cannot be used.
    """
    own = settings.libpq
    servers = Servers(given, own)
    servers.refuse_unlisted(settings)
    auth = auth or ("password" if given.get("password") else settings.pg_auth or "password")
    cloud = PUBLIC
    if auth == "entra":
        cloud = _cloud_of_token(servers, settings)
        if not (given.get("user") or own.user):
            raise missing_field("pg.user", 'auth "entra" needs a role name in pg.user, or in the setting PGUSER')
    database = given.get("dbname", database)
    if settings.pg_allowed_databases is not None and database not in settings.pg_allowed_databases:
        raise DatabaseNotAllowed(f"the database {database} is not one that this function may write to")
    sslmode = _sslmode(given, servers, settings, auth)
    parameters = {
        # Kerberos is no way in here, and would be tried for whoever asks.
        "require_auth": "!gss,!sspi",
        **{keyword: value for keyword, value in given.items() if keyword != "password"},
        **own.others,
        "dbname": database,
        "host": ",".join(servers.hosts),
        "port": ",".join(port for _, port in servers.pairs),
        "hostaddr": servers.hostaddr,
        "sslmode": sslmode,
        # Kerberos in place of TLS would pass every sslmode.
        "gssencmode": "disable",
        # The last one counts: the operator's own are not undone by a request's.
        "options": " ".join(filter(None, (given.get("options"), own.options))),
    }
    trusted = servers.is_trusted(settings)
    if not trusted:
        # The function's client certificate says who it is; that is nobody else's to know.
        parameters["sslcertmode"] = "disable"
    if own.user and "user" not in given:
        parameters["user"] = own.user
    if sslmode.startswith("verify-"):
        parameters["sslrootcert"] = _roots(own)
    if parameters.get("sslnegotiation") == "direct" and _SSL_MODES.index(sslmode) < _LEAST_SSL_MODE:
        raise SslModeNotAllowed("sslnegotiation=direct takes sslmode require or stricter")
    if "sslrootcert" in given and not sslmode.startswith("verify-"):
        raise SslModeNotAllowed("sslrootcert=system takes sslmode=verify-full")
    return Endpoint(
        parameters,
        auth,
        _password(given, own if trusted else None) if auth == "password" else None,
        settings.pg_entra_scope or cloud.postgres_scope,
        cloud,
    )


def _cloud_of_token(servers: Servers, settings: Settings) -> Cloud:
    """Refuse a server that must not see a token, and say whose token it is to be."""
    clouds = [cloud_of_postgres(host) for host in servers.hosts]
    if any(is_socket(host) for host in servers.hosts) or not (
        all(clouds) or servers.is_listed(settings.pg_allowed_hosts)
    ):
        raise DatabaseHostNotAllowed(
            "a token goes only to Azure Database for PostgreSQL and to hosts that PG_ALLOWED_HOSTS lists"
        )
    asked = [cloud for cloud in CLOUDS if cloud.postgres_scope == settings.pg_entra_scope]
    found = {cloud for cloud in clouds if cloud is not None}
    if len(found) > 1:
        raise DatabaseHostNotAllowed("the hosts are in different clouds, and a token is of one")
    return next(iter([*found, *asked]), PUBLIC)


def _password(given: Mapping[str, str], own: LibpqVariables | None) -> Secret | None:
    if given.get("password"):
        return Secret(given["password"])
    # A request must not be able to send it to a server of its own.
    return None if own is None else own.password


def _sslmode(given: Mapping[str, str], servers: Servers, settings: Settings, auth: PgAuth) -> str:
    """Choose `sslmode`, and refuse one that is too weak."""
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
                f"the setting PGSSLMODE is {own}, and this server takes require at least",
                target="PGSSLMODE",
                hint="set PGSSLMODE to verify-full, or PG_ALLOW_INSECURE_SSLMODE to true where the network is safe",
            )
        return own
    if own is not None and not servers.is_here:
        least = max(least, _SSL_MODES.index(own))
    if _SSL_MODES.index(given["sslmode"]) < least:
        raise SslModeNotAllowed(f"sslmode must be {_SSL_MODES[least]} or stricter for this server")
    return given["sslmode"]


def _roots(own: LibpqVariables) -> str:
    """Name the file of the certificates that are trusted."""
    if own.sslrootcert and own.sslrootcert != "system":
        return own.sslrootcert
    roots = find_system_roots()
    if roots is None:
        raise ConfigurationError(
            "this machine has no root certificates that can be found",
            target="PGSSLROOTCERT",
            hint="set PGSSLROOTCERT to a file with the certificates that are to be trusted",
        )
    return roots
