"""Which server a restore goes to, what it is shown, and what is refused before anything is connected to."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import (
    ConfigurationError,
    DatabaseHostNotAllowed,
    DatabaseNotAllowed,
    DatabaseUserNotAllowed,
    InvalidRequest,
    SslModeNotAllowed,
)
from shared.identity import CHINA, GOVERNMENT, PUBLIC
from shared.model.request import Pg
from shared.postgres.endpoint import Endpoint, allowed_endpoint
from shared.postgres.tls import find_system_roots
from shared.secret import Secret
from shared.settings import LibpqVariables, Settings

OWN = LibpqVariables(host="db.example.com", user="restore", password=Secret("own-password"))
# With a server of its own a function goes to no other, unless a list says so.
FREE = OWN.model_copy(update={"host": None})
AZURE = "server.postgres.database.azure.com"


def endpoint(pg: dict[str, Any], libpq: LibpqVariables = OWN, **settings: Any) -> Endpoint:
    given = Pg.model_validate(pg)
    return allowed_endpoint(given.parameters, given.auth, Settings(libpq=libpq, **settings), database="weavix")


def own(**changes: Any) -> LibpqVariables:
    return OWN.model_copy(update=changes)


def test_the_settings_alone_are_enough() -> None:
    found = endpoint({})
    assert found.with_password(found.password) == {
        "host": "db.example.com",
        "port": "5432",
        "dbname": "weavix",
        "user": "restore",
        "password": "own-password",
        "sslmode": "require",
        "gssencmode": "disable",
        "require_auth": "!gss,!sspi",
        # No file in the home directory has an effect.
        "passfile": "/dev/null/none",
        "sslcertmode": "disable",
        "sslcrl": "/dev/null/none",
        "sslrootcert": "/dev/null/none",
    }


def test_the_request_goes_before_the_settings() -> None:
    pg = {"host": "other.example", "port": 6432, "user": "somebody", "password": "theirs", "database": "elsewhere"}
    found = endpoint(pg, own(host=None, port="1", sslmode="prefer"), pg_allow_insecure_sslmode=True)
    given = found.with_password(found.password)
    assert {name: given[name] for name in ("host", "port", "user", "password", "dbname", "sslmode")} == {
        "host": "other.example",
        "port": "6432",
        "user": "somebody",
        "password": "theirs",
        "dbname": "elsewhere",
        "sslmode": "prefer",
    }


def test_a_uri_says_the_same_as_the_parts() -> None:
    uri = "postgresql://somebody:the%40irs@Other.Example:6432/elsewhere?sslmode=verify-full&application_name=x"
    found = endpoint({"connection_uri": uri}, FREE)
    given = found.with_password(found.password)
    assert (given["host"], given["port"], given["user"]) == ("other.example", "6432", "somebody")
    assert (given["password"], given["dbname"], given["sslmode"]) == ("the@irs", "elsewhere", "verify-full")


def test_without_any_host_there_is_no_server() -> None:
    with pytest.raises(InvalidRequest, match="no server is named") as caught:
        endpoint({}, LibpqVariables())
    assert caught.value.target == "pg.host"


@pytest.mark.parametrize(
    ("pg", "target", "word"),
    [
        ({"host": "db.example.com", "port": 6000}, "pg.port", "the port"),
        ({"port": 6000}, "pg.port", "the port"),
        ({"host": "evil.example"}, "pg.host", "the host"),
        ({"host": "evil.example", "port": 6000}, "pg.host", "the host"),
    ],
)
def test_what_differs_is_named(pg: dict[str, Any], target: str, word: str) -> None:
    with pytest.raises(DatabaseHostNotAllowed) as caught:
        endpoint(pg)
    assert caught.value.target == target
    assert caught.value.message.startswith(word)


@pytest.mark.parametrize(
    "pg",
    [
        {"host": "evil.example"},
        {"host": "db.example.com", "port": 6000},
        {"host": "db.example.com,evil.example"},
        {"host": "evil.example,db.example.com"},
        {"host": "db.example.com.evil.example"},
        {"host": "evil.example", "user": "restore"},
        {"connection_uri": "postgresql://evil.example/weavix"},
        {"connection_uri": "postgresql://restore@db.example.com:6000/weavix"},
        {"connection_uri": "postgresql://%65vil.example/weavix"},
        {"connection_uri": "postgresql:///weavix?host=evil.example"},
        {"connection_uri": "postgresql://db.example.com/weavix?host=evil.example"},
    ],
)
def test_another_server_never_sees_what_is_the_functions_own(pg: dict[str, Any]) -> None:
    with pytest.raises(DatabaseHostNotAllowed, match="PGHOST"):
        endpoint(pg)
    found = endpoint(pg, FREE)
    given = found.with_password(found.password)
    # libpq passes over empty values and looks for others.
    assert ("password" in given, "" in given.values()) == (False, False)
    assert (given["passfile"], given["sslcertmode"]) == ("/dev/null/none", "disable")


@pytest.mark.parametrize(
    "pg", [{}, {"host": "DB.example.com"}, {"port": 5432}, {"connection_uri": "postgresql://db.example.com:5432/x"}]
)
def test_the_settings_server_sees_it_however_it_is_named(pg: dict[str, Any]) -> None:
    found = endpoint(pg)
    assert found.password == OWN.password
    assert "sslcertmode" not in found.parameters


@pytest.mark.parametrize("listed", ["replica.example", "replica.example:6432"])
def test_a_listed_host_sees_it_too(listed: str) -> None:
    found = endpoint({"host": "replica.example", "port": 6432}, pg_allowed_hosts=(listed,))
    assert found.password == OWN.password


def test_the_address_of_the_settings_is_that_of_their_host_alone() -> None:
    libpq = own(hostaddr="10.0.0.5")
    assert endpoint({}, libpq).parameters["hostaddr"] == "10.0.0.5"
    assert endpoint({"host": "evil.example"}, libpq, pg_allowed_hosts=("evil.example",)).parameters["hostaddr"] == ""
    several = own(host="a.example,b.example", hostaddr="10.0.0.5,10.0.0.6")
    assert endpoint({}, several).parameters["hostaddr"] == "10.0.0.5,10.0.0.6"
    for other in ("b.example,a.example", "b.example"):
        assert endpoint({"host": other}, several).parameters["hostaddr"] == ""


@pytest.mark.parametrize(
    ("listed", "pg"),
    [
        ("db.example.com", {"host": "evil.example"}),
        ("db.example.com", {"host": "db.example.com.evil.example"}),
        ("db.example.com", {"host": "db.example.com,evil.example"}),
        ("db.example.com:5432", {"host": "db.example.com", "port": 5433}),
        ("db.example.com", {"host": "10.0.0.1"}),
        ("other.example", {}),
        ("db.example.com", {"connection_uri": "postgresql://evil.example/d"}),
        ("db.example.com", {"connection_uri": "postgresql://db.example.com,evil.example/d"}),
        ("::1", {"host": "::2"}),
        ("fd00::1:5432", {"host": "fd00::1"}),
    ],
)
def test_an_allow_list_lets_nothing_else_through(listed: str, pg: dict[str, Any]) -> None:
    with pytest.raises(DatabaseHostNotAllowed):
        endpoint(pg, pg_allowed_hosts=(listed,))


@pytest.mark.parametrize(
    ("listed", "host"),
    [
        ("db.example.com", "DB.EXAMPLE.COM"),
        ("db.example.com:5432", "db.example.com"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::1]:5432", "::1"),
    ],
)
def test_a_listed_host_is_known_in_every_writing(listed: str, host: str) -> None:
    assert endpoint({"host": host}, pg_allowed_hosts=(listed,)).parameters["host"] == host.lower()


def test_databases_are_listed_too() -> None:
    assert endpoint({}, pg_allowed_databases=("weavix",)).database == "weavix"
    for pg in ({"database": "postgres"}, {"connection_uri": "postgresql://db.example.com/postgres"}, {"database": "W"}):
        with pytest.raises(DatabaseNotAllowed):
            endpoint(pg, pg_allowed_databases=("weavix",))


@pytest.mark.parametrize("host", ["/var/run/postgresql", "@socket", "db.example.com,/tmp"])
def test_a_socket_takes_a_setting(host: str) -> None:
    with pytest.raises(DatabaseHostNotAllowed, match="unix socket"):
        endpoint({"host": host}, FREE)
    assert endpoint({"host": host}, FREE, pg_allow_unix_sockets=True).parameters["host"] == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "localhost,127.0.0.1"])
def test_this_machine_may_do_without_tls(host: str) -> None:
    assert endpoint({"host": host}, FREE).parameters["sslmode"] == "prefer"
    assert endpoint({"host": host, "sslmode": "disable"}, FREE).parameters["sslmode"] == "disable"


@pytest.mark.parametrize(
    "host", ["db.example.com", "localhost.evil.example", "127.0.0.1.evil.example", "localhost,evil.example", "10.0.0.1"]
)
@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
def test_no_other_machine_may(host: str, sslmode: str) -> None:
    with pytest.raises(SslModeNotAllowed):
        endpoint({"host": host, "sslmode": sslmode}, FREE)
    found = endpoint({"host": host, "sslmode": sslmode}, FREE, pg_allow_insecure_sslmode=True)
    assert found.parameters["sslmode"] == sslmode


def test_an_address_makes_another_machine_of_localhost() -> None:
    with pytest.raises(SslModeNotAllowed):
        endpoint({"sslmode": "disable"}, own(host="localhost", hostaddr="10.0.0.5"))


def test_a_request_does_not_weaken_what_the_settings_ask_for() -> None:
    libpq = own(sslmode="verify-full")
    for weaker in ("require", "verify-ca"):
        with pytest.raises(SslModeNotAllowed, match="verify-full or stricter"):
            endpoint({"sslmode": weaker}, libpq)
    assert endpoint({}, libpq).parameters["sslmode"] == "verify-full"
    assert endpoint({"sslmode": "verify-full"}, own(sslmode="require")).parameters["sslmode"] == "verify-full"


@pytest.mark.parametrize("sslmode", ["prefer", "disable"])
def test_a_weak_setting_is_an_operators_mistake(sslmode: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        endpoint({}, own(sslmode=sslmode))
    assert caught.value.target == "PGSSLMODE"
    assert endpoint({}, own(sslmode=sslmode), pg_allow_insecure_sslmode=True).parameters["sslmode"] == sslmode


@pytest.mark.parametrize(
    ("libpq", "target"),
    [
        (own(sslmode="on"), "PGSSLMODE"),
        (own(host="a,,b"), "PGHOST"),
        (own(host="a,b,c", port="1,2"), "PGHOST"),
        (own(host="postgresql://x:secret@h/d"), "PGHOST"),
    ],
)
def test_a_setting_of_libpqs_that_cannot_be_used_names_itself(libpq: LibpqVariables, target: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        endpoint({}, libpq)
    assert caught.value.target == target
    assert "secret" not in caught.value.message


def test_the_roots_are_the_machines_own_unless_a_setting_names_others() -> None:
    roots = find_system_roots()
    assert roots is not None
    for pg in ({"sslmode": "verify-full"}, {"connection_uri": "postgresql://db.example.com/d?sslrootcert=system"}):
        found = endpoint(pg)
        assert (found.parameters["sslmode"], found.parameters["sslrootcert"]) == ("verify-full", roots)
    assert endpoint({"sslmode": "verify-ca"}, own(sslrootcert="/x.pem")).parameters["sslrootcert"] == "/x.pem"
    assert "sslrootcert" not in endpoint({}).parameters


def test_roots_without_a_look_at_them_are_refused() -> None:
    with pytest.raises(SslModeNotAllowed, match="verify-full"):
        endpoint({"connection_uri": "postgresql://db.example.com/d?sslrootcert=system&sslmode=require"})


def test_a_request_does_not_undo_what_the_operator_set() -> None:
    uri = "postgresql://db.example.com/d?options=-c%20work_mem%3D64MB&require_auth=password&channel_binding=prefer"
    found = endpoint({"connection_uri": uri}, own(options="-c work_mem=4MB")).parameters
    # The server takes the last one.
    assert found["options"] == "-c work_mem=64MB -c work_mem=4MB"
    assert (found["require_auth"], found["channel_binding"]) == ("password", "prefer")
    strict = {"require_auth": "scram-sha-256", "channel_binding": "require"}
    found = endpoint({"connection_uri": uri}, own(others=strict)).parameters
    assert {name: found[name] for name in strict} == strict


def test_hosts_and_ports_go_in_pairs() -> None:
    pg = {"connection_uri": "postgresql://a.example:1,b.example:2/d"}
    assert endpoint(pg, FREE).parameters["port"] == "1,2"
    assert endpoint({"host": "a.example,b.example", "port": 7}, FREE).parameters["port"] == "7,7"
    with pytest.raises(InvalidRequest, match="one for each host"):
        endpoint({"connection_uri": "postgresql:///d?host=a,b,c&port=1,2"}, FREE)


@pytest.mark.parametrize(
    ("host", "cloud"),
    [
        (AZURE, PUBLIC),
        ("SERVER.Postgres.Database.Azure.Com", PUBLIC),
        ("s.postgres.database.usgovcloudapi.net", GOVERNMENT),
        ("s.postgres.database.chinacloudapi.cn", CHINA),
    ],
)
def test_a_token_is_asked_for_in_the_hosts_cloud(host: str, cloud: object) -> None:
    found = endpoint({"auth": "entra", "host": host, "user": "identity"}, LibpqVariables())
    assert (found.auth, found.cloud, found.password) == ("entra", cloud, None)
    assert found.scope == found.cloud.postgres_scope
    assert found.parameters["sslmode"] == "require"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "server.postgres.database.azure.com.evil.example",
        "postgres.database.azure.com",
        "evilpostgres.database.azure.com",
        f"{AZURE},evil.example",
        "127.0.0.1",
        "localhost",
        f"{AZURE},s.postgres.database.chinacloudapi.cn",
    ],
)
def test_a_token_goes_nowhere_else(host: str) -> None:
    with pytest.raises(DatabaseHostNotAllowed):
        endpoint({"auth": "entra", "host": host, "user": "identity"}, FREE)


def test_a_token_goes_to_a_listed_host_but_never_in_the_clear() -> None:
    listed: Any = {"pg_allowed_hosts": ("127.0.0.1",), "pg_allow_insecure_sslmode": True}
    pg = {"auth": "entra", "host": "127.0.0.1", "user": "identity"}
    assert endpoint(pg, own(user=None), **listed).parameters["sslmode"] == "require"
    with pytest.raises(SslModeNotAllowed):
        endpoint(pg | {"sslmode": "prefer"}, **listed)
    with pytest.raises(ConfigurationError):
        endpoint(pg, own(sslmode="prefer"), **listed)


def test_the_functions_own_password_is_for_its_own_role_alone() -> None:
    assert endpoint({"user": "restore"}).password == OWN.password
    for pg in ({"user": "postgres"}, {"user": "Restore"}, {"connection_uri": "postgresql://postgres@db.example.com"}):
        with pytest.raises(DatabaseUserNotAllowed) as caught:
            endpoint(pg)
        assert (caught.value.status, caught.value.target) == (403, "pg.user")
    # With a password of its own, a request speaks for itself.
    assert endpoint({"user": "postgres", "password": "theirs"}).parameters["user"] == "postgres"
    listed: Any = {"pg_allowed_users": ("restore", "loader")}
    assert endpoint({"user": "loader"}, **listed).password == OWN.password
    with pytest.raises(DatabaseUserNotAllowed):
        endpoint({"user": "postgres"}, **listed)
    with pytest.raises(DatabaseUserNotAllowed):
        endpoint({}, own(user=None), **listed)
    # Without PGUSER and without a list, nothing is known of roles.
    assert endpoint({"user": "postgres"}, own(user=None)).password == OWN.password


def test_a_token_is_for_the_functions_own_role_alone() -> None:
    pg = {"auth": "entra", "host": AZURE, "user": "azure_pg_admin"}
    with pytest.raises(DatabaseUserNotAllowed):
        endpoint(pg, FREE)
    assert endpoint(pg, FREE, pg_allowed_users=("azure_pg_admin",)).auth == "entra"


def test_a_token_never_goes_through_a_socket() -> None:
    with pytest.raises(DatabaseHostNotAllowed, match="token"):
        endpoint({"auth": "entra", "host": "/tmp"}, pg_allow_unix_sockets=True, pg_allowed_hosts=("/tmp",))  # noqa: S108


def test_entra_by_setting_and_a_password_in_the_request_before_it() -> None:
    libpq = LibpqVariables(host=AZURE, user="identity")
    assert endpoint({}, libpq, pg_auth="entra").auth == "entra"
    assert endpoint({"password": "theirs"}, libpq, pg_auth="entra").auth == "password"
    assert endpoint({"auth": "password"}, libpq, pg_auth="entra").auth == "password"
    assert (
        endpoint({}, libpq, pg_auth="entra", pg_entra_scope="https://other/.default").scope == "https://other/.default"
    )


def test_a_token_needs_a_role() -> None:
    with pytest.raises(InvalidRequest, match="PGUSER"):
        endpoint({"auth": "entra"}, LibpqVariables(host=AZURE))


def test_no_password_in_repr() -> None:
    found = endpoint({"password": "hunter22"})
    assert "hunter22" not in f"{found} {found!r}"
