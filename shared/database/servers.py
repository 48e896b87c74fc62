"""The servers that libpq will try, in order, and which of them are ours to trust. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from shared.connection_uri import check_hosts, is_socket
from shared.errors import ConfigurationError, DatabaseHostNotAllowed, Fault, InvalidRequest
from shared.settings import LibpqVariables, Settings

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
