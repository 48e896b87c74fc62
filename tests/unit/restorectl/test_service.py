from __future__ import annotations

import pytest

from restorectl.exit_codes import UsageError
from restorectl.service import Service, base_of, checked_id


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://host", "https://host/api"),
        ("https://host/", "https://host/api"),
        ("https://host/api/", "https://host/api"),
        ("https://host/api/restore", "https://host/api"),
        ("https://host/backups/v1", "https://host/backups/v1"),
        ("http://127.0.0.1:7071", "http://127.0.0.1:7071/api"),
        ("http://[::1]:7071/api", "http://[::1]:7071/api"),
        ("http://localhost:7071/api", "http://localhost:7071/api"),
        (" https://host/api\n", "https://host/api"),
    ],
)
def test_an_address_is_taken_in_each_form(url: str, base: str) -> None:
    assert base_of(url) == base


@pytest.mark.parametrize(
    "url",
    [
        "host",
        "https://",
        "http://host",
        "http://127.0.0.1.example",
        "https://host/api?code=x",
        "https://host:port/api",
        "https://[:::::]/api",
    ],
)
def test_an_address_that_would_show_the_key_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        base_of(url)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a b", "a?b", "x" * 65, "é", "a\n"])
def test_an_id_names_no_other_path(text: str) -> None:
    with pytest.raises(UsageError):
        checked_id(text)


def test_the_key_is_in_no_representation() -> None:
    service = Service("https://host/api", "s3cret-key", 0, print)
    assert "s3cret" not in repr(service)
    service.close()
