"""Only what cannot pass ends the tries. Real sockets are in tests/integration/test_storage_unreachable.py."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest
from azure.core.exceptions import ServiceRequestError

from shared.archive.network_fault import network_fault


def raised(cause: Exception) -> Exception:
    """Wrap an exception as the SDK does. Its context is about something else, as an earlier attempt is."""
    error = ServiceRequestError(cause, error=cause)
    error.__context__ = ConnectionResetError(errno.ECONNRESET, "an earlier attempt")
    return error


@pytest.mark.parametrize(
    ("cause", "message", "is_final"),
    [
        (socket.gaierror(socket.EAI_NONAME, "?"), "DNS knows no host h", True),
        (socket.gaierror(socket.EAI_AGAIN, "?"), "DNS did not answer when it was asked for h", False),
        (socket.gaierror(socket.EAI_FAIL, "?"), "DNS did not answer when it was asked for h", False),
        (ssl.SSLError(1, "?"), "TLS with h failed: SSLError", False),
        (OSError(errno.EHOSTUNREACH, "?"), "there is no route to h", False),
        (OSError(errno.ENETUNREACH, "?"), "there is no route to h", False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "?"), "h refused the connection", False),
        (OSError(errno.EMFILE, "?"), "h did not answer as storage does", False),
    ],
)
def test_the_reason_is_the_innermost_cause(cause: Exception, message: str, is_final: bool) -> None:
    fault = network_fault(raised(cause), "h")
    assert (fault.message, fault.is_final) == (message, is_final)


def test_causes_may_go_round() -> None:
    one, other = ServiceRequestError("one"), ServiceRequestError("other")
    one.__cause__, other.__cause__ = other, one
    assert network_fault(one, "h").message == "h did not answer as storage does"
