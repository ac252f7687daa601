from __future__ import annotations

import pytest

from agent.address import Address, parse_address
from agent.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pi.lan:7443", "pi.lan", 7443),
        (" 10.0.0.1:80 ", "10.0.0.1", 80),
        ("pi.lan", "pi.lan", 7443),
        ("[::1]:7000", "::1", 7000),
        ("[fe80::1]", "fe80::1", 7443),
        ("::1", "::1", 7443),
        (":7444", "", 7444),
    ],
)
def test_addresses_are_read(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize("text", ["pi.lan:7443", "[::1]:7000", ":7444"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "pi:", "pi:x", "pi:0", "pi:65536", "https://pi:7443", "[::1", "[]:1", "[::1]7443", "a b:1", "pi:²"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address"):
        parse_address(text)


def test_a_port_may_be_required() -> None:
    with pytest.raises(ConfigurationError, match="no port"):
        parse_address("pi", default_port=None)


def test_an_address_without_a_host_is_on_the_host_that_was_dialled() -> None:
    assert Address("", 7444).on_host("pi") == Address("pi", 7444)
    assert Address("other", 7444).on_host("pi") == Address("other", 7444)
