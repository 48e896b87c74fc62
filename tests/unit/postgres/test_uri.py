from __future__ import annotations

import ctypes
from urllib.parse import quote

import pytest
from psycopg2 import _psycopg

from shared.postgres.uri import CHECKS, check_hosts, read_connection_uri

# Each parameter of libpq 17 and 18 that a request may not set, and a value that libpq itself would take.
REFUSED = {
    "passfile": "/etc/passwd",
    "service": "x",
    "servicefile": "/tmp/x",  # noqa: S108 - is refused
    "hostaddr": "10.0.0.1",
    "requirepeer": "root",
    "sslcert": "/etc/passwd",
    "sslkey": "/etc/passwd",
    "sslpassword": "x",
    "sslcertmode": "allow",
    "sslcompression": "1",
    "sslcrl": "/etc/passwd",
    "sslcrldir": "/etc",
    "sslsni": "0",
    "sslkeylogfile": "/tmp/x",  # noqa: S108 - is refused
    "ssl_max_protocol_version": "TLSv1",
    "gssencmode": "prefer",
    "krbsrvname": "x",
    "gsslib": "gssapi",
    "gssdelegation": "1",
    "replication": "database",
    "authtype": "x",
    "scram_client_key": "x",
    "scram_server_key": "x",
    "min_protocol_version": "3.0",
    "max_protocol_version": "3.0",
    "oauth_issuer": "https://evil.example",
    "oauth_client_id": "x",
    "oauth_client_secret": "x",
    "oauth_scope": "x",
}


@pytest.mark.parametrize("keyword", REFUSED)
def test_what_reads_files_or_goes_elsewhere_is_refused(keyword: str) -> None:
    with pytest.raises(ValueError, match=r"must not set|that libpq can read") as caught:
        read_connection_uri(f"postgresql://h/d?{keyword}={REFUSED[keyword]}")
    assert REFUSED[keyword] not in str(caught.value).removeprefix(f"must not set {keyword}") or REFUSED[keyword] == "x"


class _Option(ctypes.Structure):
    """PQconninfoOption of libpq-fe.h."""

    _fields_ = (
        ("keyword", ctypes.c_char_p),
        ("envvar", ctypes.c_char_p),
        ("compiled", ctypes.c_char_p),
        ("val", ctypes.c_char_p),
        ("label", ctypes.c_char_p),
        ("dispchar", ctypes.c_char_p),
        ("dispsize", ctypes.c_int),
    )


def test_every_parameter_of_this_libpq_is_allowed_or_refused_on_purpose() -> None:
    libpq = ctypes.PyDLL(_psycopg.__file__)
    libpq.PQconndefaults.restype = ctypes.POINTER(_Option)
    options = libpq.PQconndefaults()
    keywords: set[str] = set()
    while options[len(keywords)].keyword:
        keywords.add(options[len(keywords)].keyword.decode())
    assert len(keywords) > 40
    assert keywords - set(REFUSED) - set(CHECKS) == set()


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://h/d?sslrootcert=/etc/passwd",
        "postgresql://h/d?sslmode=wrong",
        "postgresql://h/d?sslnegotiation=wrong",
        "postgresql://h/d?ssl_min_protocol_version=TLSv1",
        "postgresql://h/d?channel_binding=disable",
        "postgresql://h/d?require_auth=none",
        "postgresql://h/d?target_session_attrs=standby",
        "postgresql://h:0/d",
        "postgresql://h:65536/d",
        "postgresql://h:%31%32x/d",
        "postgresql://a,,b/d",
        "postgresql://h./d",
        "postgresql://h%0a/d",
        "postgresql://h%20x/d",
        "postgresql://u:p@ss@h/d",
        "postgresql://h/" + "d" * 64,
        "postgresql://" + "u" * 64 + "@h/d",
        "postgresql://u:12/SECRETTAIL@h/d",
        "postgresql://h/a%0ab",
        "postgresql://u%0a@h/d",
        "postgresql://" + "h" * 9000,
        "host=h dbname=d",
        "http://h/d",
        "postgresql://h/d?nonsense=1",
    ],
)
def test_what_cannot_be_right_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=r"must|is not|holds|may hold"):
        read_connection_uri(uri)


@pytest.mark.parametrize(
    "options",
    [
        "-c search_path=evil",
        "-c role=postgres",
        "-c session_replication_role=replica",
        "-c session_preload_libraries=x",
        "-c work_mem=64MB -c role=postgres",
        "--work_mem=64MB",
        "-c work_mem=64MB --role=postgres",
        "-c work_mem='64MB'",
        r"-c work_mem=64MB\ -c\ role=x",
        "-cwork_mem=1;x",
        "-e",
        "-c",
        "-c work_mem",
        "work_mem=1",
        "-c timezone=UTC\t-c\trole=x",
    ],
)
def test_options_of_other_settings_are_refused(options: str) -> None:
    with pytest.raises(ValueError, match="options may hold -c"):
        read_connection_uri(f"postgresql://h/d?options={quote(options)}")


@pytest.mark.parametrize(
    "options", ["-c work_mem=64MB", "-cwork_mem=64MB  -c DateStyle=ISO,DMY", "-c TimeZone=Europe/Berlin", "", "  "]
)
def test_harmless_options_pass(options: str) -> None:
    assert read_connection_uri(f"postgresql://h/d?options={quote(options)}").get("options", "") == options


def test_a_refusal_repeats_no_value() -> None:
    uri = "postgresql://u:hunter22@h:hunter22/d?sslmode=hunter22&options=hunter22&sslrootcert=hunter22&sslkey=hunter22"
    for one in (uri, uri.removesuffix("&sslkey=hunter22"), uri + "&x=%zz", uri.replace("h:", "h,h:p@")):
        with pytest.raises(ValueError, match=r"must|is not|holds") as caught:
            read_connection_uri(one)
        assert "hunter22" not in str(caught.value)


def test_a_full_uri() -> None:
    uri = (
        "postgres://u:p%40@a.example:1,[::1]:2/d?sslmode=verify-full&sslrootcert=system&sslnegotiation=direct"
        "&ssl_min_protocol_version=TLSv1.3&channel_binding=require&require_auth=scram-sha-256"
        "&target_session_attrs=primary&load_balance_hosts=random&connect_timeout=1&application_name=x"
    )
    read = read_connection_uri(uri)
    assert (read["host"], read["port"], read["password"]) == ("a.example,::1", "1,2", "p@")


@pytest.mark.parametrize(
    "hosts", ["h", "a,b,c,d,e,f,g,h", "a.b-c_d", "10.0.0.1", "::1", "fe80::1", "/run", "@abstract", "1a.b1"]
)
def test_hosts(hosts: str) -> None:
    assert check_hosts(hosts) == hosts


@pytest.mark.parametrize(
    "hosts",
    [
        "",
        ",",
        "a,",
        "h.",
        "h:5432",
        "postgresql://u:p@h",
        "h h",
        "h\n",
        "h/x",
        "u@h",
        "::1%x",
        "2",
        "127.1",
        "0x7f000001",
        "a.1",
        "010.0.0.1",
        "fe80::1%1.postgres.database.azure.com",
        "a,b,c,d,e,f,g,h,i",
        "é.example",
        "a" * 300,
    ],
)
def test_no_hosts(hosts: str) -> None:
    with pytest.raises(ValueError, match=r"must be a host name|hosts at most"):
        check_hosts(hosts)
