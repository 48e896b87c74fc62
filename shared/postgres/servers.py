"""The hosts that libpq will try, and whether the settings allow them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from shared.errors import ConfigurationError, DatabaseHostNotAllowed, Fault, InvalidRequest
from shared.postgres.uri import check_hosts, is_socket
from shared.settings import LibpqVariables, Settings

_DEFAULT_PORT = "5432"


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
            raise DatabaseHostNotAllowed(
                "this function may not connect to the host at this port",
                hint="ask an operator to add the host, alone or with the port, to the setting PG_ALLOWED_HOSTS",
            )
        if settings.pg_allowed_hosts is None and settings.libpq.host is not None and not self.is_own:
            # Rows need as much protection as a password: without a list, only the settings' own server is allowed.
            own = {host for host, _ in _own_pairs(settings.libpq)}
            if own.issuperset(self.hosts):
                raise DatabaseHostNotAllowed(
                    "the port differs from that of PGHOST, in the setting PGPORT; another port needs PG_ALLOWED_HOSTS",
                    target="pg.port",
                    hint="leave the port out, or ask an operator to add host and port to the setting PG_ALLOWED_HOSTS",
                )
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
