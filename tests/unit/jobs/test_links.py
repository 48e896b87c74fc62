"""What links begin with: an address of a host, whatever the headers say."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from shared.api.call import HttpCall, base_url
from shared.settings import load_settings

URL = "http://localhost:7071/api/restores"


def base(url: str, **headers: str) -> str:
    named = {f"X-Forwarded-{name}": value for name, value in headers.items()}
    return base_url(HttpCall("GET", url, named, {}, {}, b""), load_settings(), "/restores")


@pytest.mark.parametrize(
    "host",
    [
        "app.azurewebsites.net",
        "api:8080",
        "my_app:7071",
        "10.0.0.1:65535",
        "[::1]",
        "[2001:db8::1]:8443",
        "[::ffff:1.2.3.4]",
        f"{'a' * 63}.example",
    ],
)
def test_a_host_that_a_proxy_names(host: str) -> None:
    assert base(URL, Host=host, Proto="https") == f"https://{host}/api"
    assert base(URL, Host=f"{host}, inner.example") == f"http://{host}/api"


NO_HOSTS = [
    "[:::::]",
    "[1.2.3.4]",
    "[]",
    "[::1]:65536",
    "a:99999",
    "a:0",
    "a:",
    "..",
    "a..b",
    "-",
    "-a.example",
    "a-.example",
    "a" * 64,
    ".".join(["a" * 60] * 5),
    "a@b",
    "a/b",
    "a b",
    "a\r\nb",
    "ä.example",
    "\ud800",
    "",
]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_what_is_not_a_host_is_not_in_a_link(host: str) -> None:
    assert base(URL, Host=host) == "http://localhost:7071/api"


@pytest.mark.parametrize("host", [host for host in NO_HOSTS if host not in ("a/b", "a\r\nb")])
def test_a_request_to_no_host_has_links_without_one(host: str) -> None:
    """The caller knows where it sent the request. No link is one that cannot be read."""
    shown = base(f"http://{host}/api/restores")
    assert (shown, urlsplit(shown).netloc) == ("/api", "")
    assert base("/api/restores") == "/api"


@pytest.mark.parametrize("scheme", ["javascript", "HTTPS", "", "https:"])
def test_what_is_not_a_scheme_is_not_in_a_link(scheme: str) -> None:
    assert base(URL, Proto=scheme) == "http://localhost:7071/api"
