"""Combines the request's `pg` with the app settings: which server, database, role and TLS. Pure.

libpq itself would take omitted parameters from the environment, the function's own password included, and send them to
any host that the request names. So this module determines and checks all parameters before libpq gets them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import DatabaseHostNotAllowed, DatabaseNotAllowed, DatabaseUserNotAllowed
from shared.identity import CLOUDS, PUBLIC, Cloud, cloud_of_postgres
from shared.postgres.servers import Servers, missing_field
from shared.postgres.tls import decide_sslmode, refuse_unsafe_tls, trusted_roots
from shared.postgres.uri import is_socket
from shared.secret import Secret
from shared.settings import LibpqVariables, PgAuth, Settings

# libpq passes over files that do not exist, except for `sslrootcert` with verify-ca and verify-full.
_NO_FILE = "/dev/null/none"


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


def allowed_endpoint(given: Mapping[str, str], auth: PgAuth | None, settings: Settings, *, database: str) -> Endpoint:
    """Combine request and settings, and refuse what the settings do not allow.

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
    _refuse_database(database, settings)
    sslmode = decide_sslmode(given, servers, settings, auth)
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
    if own.user and "user" not in given:
        parameters["user"] = own.user
    trusted = own if servers.is_trusted(settings) else None
    password = _password(given, trusted) if auth == "password" else None
    is_own = password is not None and not given.get("password")
    if auth == "entra" or is_own:
        _refuse_user(parameters.get("user"), settings)
    if sslmode.startswith("verify-"):
        parameters["sslrootcert"] = trusted_roots(own)
    refuse_unsafe_tls(parameters, given, sslmode)
    scope = settings.pg_entra_scope or cloud.postgres_scope
    return Endpoint(parameters, auth, password, is_own, scope, cloud)


def _refuse_database(database: str, settings: Settings) -> None:
    if settings.pg_allowed_databases is not None and database not in settings.pg_allowed_databases:
        raise DatabaseNotAllowed(f"this function may not write to the database {database}")


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
