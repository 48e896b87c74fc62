"""Finds out why a host gave no answer (name, refusal, certificate, silence) by the types of errors, never by texts."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from urllib3.exceptions import ConnectTimeoutError, ProtocolError, ProxyError, ReadTimeoutError

# The resolver says that there is no such name, or no address for it. Other errors mean that it did not answer.
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
_NO_ROUTE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH})

_NAME_HINT = (
    "check the account's name; if the account has a private endpoint, the function's network needs its private DNS"
    " zone: that of blob, since files are read by the blob endpoint"
)
_DNS_HINT = "try again; if it persists, check the DNS servers of the function's network"
_FILTER_HINT = (
    "try again; if it persists, check what stands between the function and the account: routes, network security"
    " groups, a firewall, the private endpoint"
)
_CERTIFICATE_HINT = (
    "if something between the function and the account inspects TLS, except storage from it, or name its certificates"
    " in the app setting REQUESTS_CA_BUNDLE"
)
_PROXY_HINT = (
    "check the app settings HTTPS_PROXY and NO_PROXY, and whether the proxy lets the function reach the account"
)


@dataclass(frozen=True)
class NetworkFault:
    """Why there was no answer.

    Attributes:
        message: for a person; it names the host.
        hint: what to do about it; None: nothing that is known here.
        is_final: whether the same request would end in the same way a second later.
    """

    message: str
    hint: str | None = None
    is_final: bool = False


def network_fault(error: BaseException, host: str) -> NetworkFault:
    """Find out why a host gave no answer.

    Args:
        error: what the SDK raised.
        host: who was asked.

    Returns:
        The reason. `requests` and `urllib3` keep it as a cause, an argument or an attribute of what they raise.
    """
    causes = list(_causes(error))
    if any(isinstance(cause, ProxyError) for cause in causes):
        return NetworkFault(f"the proxy of HTTPS_PROXY could not connect to {host}", _PROXY_HINT)
    found = (fault for cause in reversed(causes) if (fault := _fault(cause, host)) is not None)
    return next(found, NetworkFault(f"{host} did not answer as storage does"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it was made of, the outermost first.

    Not `__context__`: what was being handled meanwhile may be an earlier attempt.
    """
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        parts = (one.__cause__, getattr(one, "inner_exception", None), getattr(one, "reason", None), *one.args)
        waiting += [part for part in parts if isinstance(part, BaseException)]


def _fault(cause: BaseException, host: str) -> NetworkFault | None:
    """Read one exception; None where it says nothing."""
    if isinstance(cause, socket.gaierror):
        if cause.errno in _NO_SUCH_NAME:
            return NetworkFault(f"DNS knows no host {host}", _NAME_HINT, is_final=True)
        return NetworkFault(f"DNS did not answer when it was asked for {host}", _DNS_HINT)
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = getattr(cause, "verify_message", "no reason is known")
        return NetworkFault(f"the certificate of {host} is not trusted: {reason}", _CERTIFICATE_HINT, is_final=True)
    if isinstance(cause, ssl.SSLError):
        # Python sets it where OpenSSL named a reason.
        reason = getattr(cause, "reason", None) or type(cause).__name__
        return NetworkFault(f"TLS with {host} failed: {reason}", _FILTER_HINT)
    return _silence(cause, host)


def _silence(cause: BaseException, host: str) -> NetworkFault | None:
    if isinstance(cause, ConnectionRefusedError):
        return NetworkFault(f"{host} refused the connection", _FILTER_HINT)
    if isinstance(cause, ConnectTimeoutError):
        return NetworkFault(f"{host} did not accept the connection in time", _FILTER_HINT)
    if isinstance(cause, ReadTimeoutError):
        return NetworkFault(f"{host} accepted the connection, but did not answer in time", _FILTER_HINT)
    if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
        return NetworkFault(f"there is no route to {host}", _FILTER_HINT)
    if isinstance(cause, (ConnectionError, ProtocolError)):
        return NetworkFault(f"the connection to {host} broke")
    return None
