"""Secure channels to an orchestrator, and what a call that failed on one means for this device."""

from __future__ import annotations

import grpc
import grpc.aio

from agent.address import Address
from agent.errors import AgentError, ConfigurationError, RevokedError, UnreachableError
from agent.identity import SERVER_NAME

# A stream's messages are small; a fetched file of the release repository may list many releases.
_SEND_LIMIT_BYTES = 1 << 20
_RECEIVE_LIMIT_BYTES = 4 << 20

# The server allows a ping every 15 s. Routers forget connections that are idle for minutes.
_KEEPALIVE_MS = 30_000
_KEEPALIVE_TIMEOUT_MS = 10_000

_IDENTITY_REFUSED = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
# The same agent will hear the same answer: no hurry to ask again.
_AGENT_REFUSED = frozenset({
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
})  # fmt: skip

# Words in what gRPC says of a failed connection, and what they mean. The first that fits counts.
_CONNECTION_FAILURES = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate was not signed by the authority that this device trusts"),
    ("certificate signature failure", "its certificate was not signed by the authority that this device trusts"),
    ("Hostname Verification", "its certificate is not that of a fleetfit orchestrator"),
    ("andshake", "the TLS handshake failed"),
    ("Connection refused", "connection refused"),
    ("DNS resolution", "its name cannot be resolved"),
    ("Domain name not found", "its name cannot be resolved"),
    ("No route to host", "no route to host"),
    ("Network is unreachable", "the network is unreachable"),
    ("watchdog", "the connection went silent"),
    ("Socket closed", "the connection was closed"),
    ("Connection reset", "the connection was closed"),
    ("imed out", "timed out"),
    ("imeout", "timed out"),
)


def open_channel(
    address: Address, *, authority: bytes, key: bytes | None = None, certificate: bytes | None = None
) -> grpc.aio.Channel:
    """A channel to whoever shows a certificate for ``SERVER_NAME`` that ``authority`` proves; all in PEM."""
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authority, private_key=key, certificate_chain=certificate
    )
    options = [
        ("grpc.ssl_target_name_override", SERVER_NAME),
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.max_send_message_length", _SEND_LIMIT_BYTES),
        ("grpc.max_receive_message_length", _RECEIVE_LIMIT_BYTES),
        # Retries are the agent's own affair, and a new channel is to dial anew.
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.secure_channel(f"dns:///{address}", credentials, options=options)


def call_error(error: grpc.aio.AioRpcError, address: Address) -> AgentError:
    """What a failed call means: identity refused, agent refused, or simply out of reach."""
    if error.code() in _IDENTITY_REFUSED:
        return RevokedError(
            f"the orchestrator at {address} refuses this device: {said(error)}",
            hint="run 'fleetfit-agent leave', then join again with a new token",
        )
    if error.code() in _AGENT_REFUSED:
        return ConfigurationError(
            f"the orchestrator at {address} does not go on with this agent: {said(error)}",
            hint=hint(error) or "bring agent and orchestrator to versions that fit",
        )
    return unreachable(error, address)


def unreachable(error: grpc.aio.AioRpcError, address: Address) -> UnreachableError:
    """The failed call as a lost connection, in words for people."""
    message = said(error)
    # gRPC packs the history of all its tries into one string; anything else is a sentence of the orchestrator.
    reason = next((meaning for word, meaning in _CONNECTION_FAILURES if word in message), message)
    return UnreachableError(
        f"the orchestrator at {address} cannot be reached: {reason}",
        hint=hint(error) or "check the address, and that the orchestrator runs there",
    )


def said(error: grpc.aio.AioRpcError) -> str:
    """What went wrong, in the orchestrator's words where it has any."""
    return _metadata(error, "fleetfit-message-bin") or error.details() or error.code().name


def hint(error: grpc.aio.AioRpcError) -> str:
    """What the orchestrator advises; empty where it does not."""
    return _metadata(error, "fleetfit-hint-bin")


def _metadata(error: grpc.aio.AioRpcError, key: str) -> str:
    values = [value for name, value in error.trailing_metadata() or () if name == key]
    value = values[0] if values else b""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
