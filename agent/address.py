"""Where an orchestrator listens: a host and a port."""

from __future__ import annotations

from dataclasses import dataclass

from agent.errors import ConfigurationError

DEFAULT_PUBLIC_PORT = 7443


@dataclass(frozen=True, slots=True)
class Address:
    """A host (a name or an IP address, without brackets; empty where another one is to be filled in) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def on_host(self, host: str) -> Address:
        """This address, on ``host`` where it names no host of its own."""
        return self if self.host else Address(host, self.port)


def parse_address(text: str, *, default_port: int | None = DEFAULT_PUBLIC_PORT) -> Address:
    """The address in ``host:port``, ``host``, ``[ipv6]:port`` or ``:port``.

    Raises:
        ConfigurationError: It is none of these, or has no port where ``default_port`` is None.
    """
    stripped = text.strip()
    if stripped.startswith("["):
        host, bracket, rest = stripped[1:].partition("]")
        colon, port_text = rest[:1], rest[1:]
        malformed = not bracket or not host or colon not in ("", ":")
    elif stripped.count(":") > 1:
        host, colon, port_text, malformed = stripped, "", "", False
    else:
        host, colon, port_text = stripped.partition(":")
        malformed = not host and not colon
    malformed = malformed or "/" in host or any(character.isspace() for character in host)
    if malformed or (colon and not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536)):
        raise ConfigurationError(f"'{text}' is not an address", hint="write it as host:port, for example pi.lan:7443")
    if colon:
        return Address(host, int(port_text))
    if default_port is None:
        raise ConfigurationError(f"'{text}' has no port", hint="write it as host:port")
    return Address(host, default_port)
