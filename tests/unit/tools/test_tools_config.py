from __future__ import annotations

import socket

import pytest

from tools.config import LOOPBACK, Config, ToolError, check_port_free, load_config


def test_defaults_of_both_suites_do_not_collide() -> None:
    assert load_config({}) == Config("trixie", 15432, 11000, 7071)
    assert load_config({"PG": "forky"}).pg_port == 15433


def test_every_port_is_a_variable() -> None:
    environ = {"PG": "forky", "PG_PORT": "1", "AZURITE_PORT": "2", "HOST_PORT": "3"}
    assert load_config(environ) == Config("forky", 1, 2, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PG", "sid"),
        ("PG_PORT", "0"),
        ("PG_PORT", "x"),
        ("AZURITE_PORT", "65534"),
        ("HOST_PORT", "-1"),
        ("HOST_PORT", "٣"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(ToolError, match=f"^{name}={value} is not"):
        load_config({name: value})


def test_a_taken_port_is_named_with_the_variable_that_changes_it() -> None:
    with socket.socket() as other:
        other.bind((LOOPBACK, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ToolError, match=rf"^port {port} on 127\.0\.0\.1 is taken, and Azurite needs it.*AZURITE_PORT="
        ):
            check_port_free(port, "AZURITE_PORT", "Azurite")
    check_port_free(port, "AZURITE_PORT", "Azurite")
