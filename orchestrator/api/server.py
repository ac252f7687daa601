"""The gRPC server: one object, two ports."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Sequence

import grpc

from orchestrator.api.interceptors import Interceptor
from orchestrator.api.services import Services
from orchestrator.clock import Clock
from orchestrator.errors import ConflictError, FleetfitError, InvalidInputError, OperationError
from orchestrator.fleet.authority import Authority

_LOG = logging.getLogger(__name__)

PUBLIC_PORT_OPTION = "--port"
DEVICE_PORT_OPTION = "--device-port"

_OPTIONS: Sequence[tuple[str, int]] = (
    # A second server on the same port must fail, not share it.
    ("grpc.so_reuseport", 0),
    # The agent pings every 30 s, the client every 60 s; whoever pings more often than this is sent away.
    ("grpc.http2.min_ping_interval_without_data_ms", 15_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Devices that are gone without a word are noticed.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # The largest message that anyone sends is a workload file.
    ("grpc.max_receive_message_length", 1024 * 1024),
    # What a peer may send before it is read stays at 64 KiB, however fast the network.
    ("grpc.http2.bdp_probe", 0),
    # Calls at once on one connection.
    ("grpc.max_concurrent_streams", 64),
)


class Server:
    """Listens on the public port (server certificate) and on the port for devices (certificates on both sides).

    gRPC for Python either demands a client certificate on a port or never looks at it; hence two ports.

    Args:
        authority: Signs the server's certificate and those of the devices.
        interceptors: What happens around every call.
        clock: Decides when the server's certificate is due.
    """

    def __init__(self, *, authority: Authority, interceptors: Sequence[Interceptor], clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
        self._shown = authority.server_certificate(clock()).chain_pem

    def bind(self, *, host: str, public_port: int, device_port: int) -> tuple[int, int]:
        """Takes both ports, and returns their numbers; 0 asks for a free one.

        Raises:
            ConflictError: One is in use.
        """
        public = self._listen(host, public_port, PUBLIC_PORT_OPTION, for_devices=False)
        return public, self._listen(host, device_port, DEVICE_PORT_OPTION, for_devices=True)

    async def start(self, services: Services) -> None:
        """Begins to answer for all services, on both ports; the access table decides who gets through."""
        services.register(self._server)
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Takes no new calls, gives running ones ``grace_s`` to end, and closes every connection."""
        await self._server.stop(grace_s)

    def _listen(self, host: str, port: int, option: str, *, for_devices: bool) -> int:
        credentials = grpc.dynamic_ssl_server_credentials(
            self._certificate_configuration(for_devices=for_devices),
            # The stubs do not know that None, for "as before", is allowed.
            lambda: self._renewed(for_devices=for_devices),  # type: ignore[arg-type, return-value]
            require_client_authentication=for_devices,
        )
        try:
            return self._server.add_secure_port(f"{_bracketed(host)}:{port}", credentials)
        except RuntimeError as error:
            raise _in_use(host, port, option) from error

    def _certificate_configuration(self, *, for_devices: bool) -> grpc.ServerCertificateConfiguration:
        certificate = self._authority.server_certificate(self._clock())
        return grpc.ssl_server_certificate_configuration(
            [(certificate.key_pem, certificate.chain_pem)],
            root_certificates=self._authority.certificate_pem if for_devices else None,
        )

    def _renewed(self, *, for_devices: bool) -> grpc.ServerCertificateConfiguration | None:
        """A certificate that was issued since the start, or None. Asked before each handshake, on another thread."""
        try:
            current = self._authority.server_certificate(self._clock()).chain_pem
        except FleetfitError:
            _LOG.exception("the server's certificate cannot be renewed")
            return None
        return None if current == self._shown else self._certificate_configuration(for_devices=for_devices)


async def check_ports(host: str, ports: Sequence[tuple[int, str]]) -> None:
    """Makes sure that the server could listen, before anything is made or changed.

    Args:
        host: Where to listen.
        ports: Each with the option that sets it.

    Raises:
        ConflictError: A port is in use; the message names the port and the option.
        InvalidInputError: The host is not one of this machine's, or both ports are the same.
        OperationError: The port is not for everyone.
    """
    chosen = [port for port, _ in ports if port]
    if len(set(chosen)) < len(chosen):
        raise InvalidInputError(
            f"port {chosen[0]} was given twice", hint=" and ".join(option for _, option in ports) + " must differ"
        )
    loop = asyncio.get_running_loop()
    for port, option in ports:
        try:
            resolved = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError, OverflowError) as error:
            raise InvalidInputError(
                f"'{host}' is not an address to listen on", hint="choose another with --host"
            ) from error
        family, kind, protocol, _, address = resolved[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except PermissionError as error:
                raise OperationError(
                    f"this user may not listen on port {port}", hint=f"choose one above 1023 with {option}"
                ) from error
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise _in_use(host, port, option) from error
                raise InvalidInputError(
                    f"cannot listen on {host}: {error.strerror}", hint="choose another with --host"
                ) from error


def _in_use(host: str, port: int, option: str) -> ConflictError:
    return ConflictError(
        f"port {port} on {host} is in use",
        hint=f"end what uses it, or choose another with {option}",
        reason="PORT_IN_USE",
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
