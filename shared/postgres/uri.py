"""Reads a `pg.connection_uri`, and checks what it sets.

Anyone with the function's key can send one, so only harmless parameters are allowed. libpq's complete list:
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS. Refused are those that

- read or name files: `passfile`, `service`, `servicefile`, `sslcert`, `sslkey`, `sslrootcert` (except `system`),
  `sslcrl`, `sslcrldir`, `sslkeylogfile`; or load a library: `gsslib`
- reveal other secrets or identities: `sslpassword`, `krbsrvname`, `gssdelegation`, `requirepeer`,
  `scram_client_key`, `scram_server_key`, `oauth_*`
- connect to another place than `host`: `hostaddr`
- weaken TLS: `sslcertmode`, `sslcompression`, `sslsni`, `ssl_max_protocol_version`, `gssencmode`
- open another kind of session: `replication`
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

from psycopg2 import ProgrammingError
from psycopg2.extensions import parse_dsn

from shared.names import check_name

SslMode: TypeAlias = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

# Settings allowed in `options`: how values are read, and how much time and memory a statement may use. None changes
# which object a name refers to (search_path), whose rights count (role) or whether triggers run.
_SETTINGS = {
    "datestyle",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "maintenance_work_mem",
    "max_parallel_maintenance_workers",
    "statement_timeout",
    "timezone",
    "work_mem",
}
_OPTION = re.compile(r"-c\s*([a-z_]+)=([A-Za-z0-9_.,:/+-]*)", re.ASCII | re.IGNORECASE)

# No final dot: it names the same host, but no allow list would match it. No number as the last part either: libpq would
# read 2 as the address 0.0.0.2.
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
_SOCKET = re.compile(r"[/@][^\x00-\x1f\x7f,]+")
_MOST_PORT = 65535
_MOST_HOSTS = 8
_MOST_CHARACTERS = 8192


def check_hosts(text: str) -> str:
    """Return the text if it names hosts. A URI or a password in its place would be repeated in libpq's messages.

    Args:
        text: one host, or several separated by commas.

    Raises:
        ValueError: one of them is neither a name nor an address nor a path.
    """
    hosts = text.split(",", _MOST_HOSTS)
    if len(hosts) > _MOST_HOSTS:
        raise ValueError(f"must name {_MOST_HOSTS} hosts at most")
    if not all(_is_host(host) for host in hosts):
        raise ValueError("must be a host name, an address, or several of them separated by commas")
    return text


def check_login(text: str) -> str:
    """Return the text if it can be the name of a role or database.

    A URI or a part of one in its place would be repeated in answers and logs, and a line break could forge a log line.

    Raises:
        ValueError: it is too long, or holds :// or a control character.
    """
    check_name(text)
    if "://" in text or any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("must be a name, without :// and control characters")
    return text


def _database(text: str) -> None:
    # After an unescaped slash in the password, libpq takes the rest of the password and the host as the database.
    if "@" in check_login(text):
        raise ValueError("holds an @; in a password, write / as %2F")


def is_socket(host: str) -> bool:
    """Whether a host is a socket, in a folder or abstract, and not a machine."""
    return host.startswith(("/", "@"))


def _is_host(text: str) -> bool:
    try:
        # Refuse a zone such as %eth0: it can be any text, and libpq may look the whole up as a name.
        ipaddress.ip_address(text if "%" not in text else "")
    except ValueError:
        if is_socket(text):
            return _SOCKET.fullmatch(text) is not None
        return _NAME.fullmatch(text) is not None and not _NUMBER.fullmatch(text.rpartition(".")[2])
    return True


def read_connection_uri(text: str) -> dict[str, str]:
    """Read a connection URI as libpq reads it.

    Args:
        text: `postgresql://user:password@host:port/database?sslmode=...`.

    Returns:
        libpq's keywords and their values, percent-encoding decoded.

    Raises:
        ValueError: the text is not such a URI, or sets a parameter that is not allowed. The message repeats no value.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"must have {_MOST_CHARACTERS} characters at most")
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql:// or postgres://")
    try:
        parameters: dict[str, str] = parse_dsn(text)
    except ProgrammingError:
        # libpq's own message repeats parts of the URI, including the password.
        raise ValueError("is not a connection URI that libpq can read") from None
    # An unescaped @ in the password ends up in the host, and libpq repeats the host in its messages.
    if "@" in parameters.get("host", ""):
        raise ValueError("holds an @ that is not written as %40")
    refused = sorted(parameters.keys() - CHECKS.keys())
    if refused:
        raise ValueError(f"must not set {', '.join(refused)}")
    faults = [fault for keyword, value in parameters.items() for fault in _fault_of(keyword, value)]
    if faults:
        raise ValueError("; ".join(faults))
    return parameters


def _fault_of(keyword: str, value: str) -> Iterator[str]:
    try:
        CHECKS[keyword](value)
    except ValueError as exc:
        yield f"{keyword} {exc}"


def _anything(_: str) -> None:
    pass


def _ports(text: str) -> None:
    # libpq checks ports only when it connects, and its error then looks like that of an unreachable server.
    for port in text.split(","):
        is_number = port.isascii() and port.isdecimal() and len(port) <= len(str(_MOST_PORT))
        if port and not (is_number and 1 <= int(port) <= _MOST_PORT):
            raise ValueError("must be from 1 to 65535")


def _options(text: str) -> None:
    rest = text.strip()
    while rest:
        found = _OPTION.match(rest)
        if found is None or found[1].lower() not in _SETTINGS or rest[found.end() :][:1].strip():
            raise ValueError(f"may hold -c <name>=<value> only, with a name of {', '.join(sorted(_SETTINGS))}")
        rest = rest[found.end() :].strip()


def _one_of(*values: str) -> Callable[[str], None]:
    def check(text: str) -> None:
        if text not in values:
            raise ValueError(f"must be {' or '.join(values)}")

    return check


# The timeouts, the encoding and the application name are accepted, but the restore's own values replace them.
CHECKS: Mapping[str, Callable[[str], Any]] = {
    "host": check_hosts,
    "port": _ports,
    "user": check_login,
    "password": _anything,
    "dbname": _database,
    "sslmode": _one_of(*get_args(SslMode)),
    "sslrootcert": _one_of("system"),
    "sslnegotiation": _one_of("postgres", "direct"),
    "ssl_min_protocol_version": _one_of("TLSv1.2", "TLSv1.3"),
    "channel_binding": _one_of("prefer", "require"),
    "require_auth": _one_of("scram-sha-256", "password", "md5", "scram-sha-256,password"),
    "target_session_attrs": _one_of("any", "read-write", "primary", "prefer-standby"),
    "load_balance_hosts": _one_of("disable", "random"),
    "options": _options,
    **dict.fromkeys(
        (
            "application_name",
            "fallback_application_name",
            "client_encoding",
            "connect_timeout",
            "keepalives",
            "keepalives_idle",
            "keepalives_interval",
            "keepalives_count",
            "tcp_user_timeout",
        ),
        _anything,
    ),
}
