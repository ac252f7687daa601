"""One TLS connection to an orchestrator: where it is, who the caller is, and what its errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc

from orchestrator import errors
from orchestrator.client.endpoint import Endpoint
from orchestrator.errors import FleetfitError

# Every server certificate carries this name, so that the address by which a server is reached may be anything.
SERVER_NAME = "orchestrator.fleetfit.internal"

CALL_TIMEOUT_S = 60.0

# A search with a few hundred trials, each with its measurements, is larger than the 4 MiB that gRPC allows by itself.
_MAXIMUM_MESSAGE_BYTES = 64 * 2**20

_BY_STATUS: dict[grpc.StatusCode, type[FleetfitError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidInputError,
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidInputError,
    grpc.StatusCode.NOT_FOUND: errors.NotFoundError,
    grpc.StatusCode.UNAUTHENTICATED: errors.UnauthenticatedError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.UNAVAILABLE: errors.UnavailableError,
    grpc.StatusCode.ALREADY_EXISTS: errors.ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: errors.ConflictError,
    grpc.StatusCode.ABORTED: errors.ConflictError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineError,
}

# Classes that share a gRPC status with another one are told apart by their reason.
_BY_REASON: dict[str, type[FleetfitError]] = {
    kind.default_reason: kind
    for kind in (
        errors.InvalidInputError,
        errors.NoFeasibleModelError,
        errors.NotFoundError,
        errors.UnauthenticatedError,
        errors.PermissionDeniedError,
        errors.UnavailableError,
        errors.ConflictError,
        errors.DeadlineError,
        errors.DeliveryError,
        errors.OperationError,
        errors.WorkloadFailedError,
        errors.WorkerLostError,
    )
}

Request = TypeVar("Request")
Response = TypeVar("Response")


class Connection:
    """Calls methods of one server, as one caller.

    Opening it does not dial: the first call does.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.channel = grpc.secure_channel(
            endpoint.address,
            grpc.ssl_channel_credentials(root_certificates=endpoint.ca_certificate),
            options=[
                ("grpc.ssl_target_name_override", SERVER_NAME),
                ("grpc.max_receive_message_length", _MAXIMUM_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAXIMUM_MESSAGE_BYTES),
                # A connection that is silently gone is noticed while a watch waits for news.
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 20_000),
                # A server that comes back is found again at once.
                ("grpc.initial_reconnect_backoff_ms", 200),
                ("grpc.max_reconnect_backoff_ms", 2_000),
            ],
        )
        self._metadata = (("authorization", f"Bearer {endpoint.token}"),)

    def call(self, method: Callable[..., Response], request: object, *, timeout_s: float = CALL_TIMEOUT_S) -> Response:
        """The answer to one request.

        Raises:
            FleetfitError: What the server or the way to it had to say, as the class that the server raised.
        """
        try:
            return method(request, metadata=self._metadata, timeout=timeout_s)
        except grpc.RpcError as error:
            raise translated(error, self.endpoint) from error

    def stream(self, method: Callable[..., Any], request: object, *, timeout_s: float | None = None) -> Iterator[Any]:
        """Yields the answers to one request, and ends the call when the caller stops to ask.

        Raises:
            FleetfitError: As in :meth:`call`.
        """
        call = method(request, metadata=self._metadata, timeout=timeout_s)
        try:
            yield from call
        except grpc.RpcError as error:
            raise translated(error, self.endpoint) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Closes the connection and every call on it."""
        self.channel.close()


def translated(error: grpc.RpcError, endpoint: Endpoint) -> FleetfitError:
    """The error as the class that the server raised, with its message, hint and reason."""
    status, details = error.code(), error.details() or ""
    trailing = {entry.key: entry.value for entry in error.trailing_metadata() or ()}
    reason = _text(trailing.get("fleetfit-reason"))
    if not reason:
        return _without_reason(status, details, endpoint)
    kind = _BY_REASON.get(reason) or _BY_STATUS.get(status, errors.OperationError)
    message = _text(trailing.get("fleetfit-message-bin")) or details
    return kind(message, hint=_text(trailing.get("fleetfit-hint-bin")), reason=reason)


def _without_reason(status: grpc.StatusCode, details: str, endpoint: Endpoint) -> FleetfitError:
    """What gRPC itself has to say: the server did not answer, or knows nothing of the method."""
    if status is grpc.StatusCode.UNAVAILABLE:
        if "WRONG_VERSION_NUMBER" in details:
            return errors.UnavailableError(
                f"what answers at {endpoint.address} does not speak TLS: it is no orchestrator",
                hint="check host and port: 'fleetfit up' prints them",
            )
        if "handshake failed" in details or "Peer name" in details:
            return errors.UnavailableError(
                f"the server at {endpoint.address} shows a certificate that {endpoint.ca_source} did not sign",
                hint="give the certificate authority of that server with --ca or FLEETFIT_CA",
                reason="AUTHORITY_MISMATCH",
            )
        return errors.UnavailableError(
            f"no orchestrator answers at {endpoint.address}",
            hint="start it with 'fleetfit up', or name another one with --server or FLEETFIT_SERVER",
        )
    if status is grpc.StatusCode.CANCELLED:
        return errors.UnavailableError(f"the orchestrator at {endpoint.address} ended the call: it is stopping")
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return errors.OperationError(
            f"the server at {endpoint.address} does not know this request",
            hint="bring fleetfit here and there to the same version: 'fleetfit status' shows the server's",
            reason="VERSION_SKEW",
        )
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.DeadlineError(f"the orchestrator at {endpoint.address} did not answer in time")
    kind = _BY_STATUS.get(status, errors.OperationError)
    return kind(details or f"the server answered {status.name} without a reason")


def _text(value: str | bytes | None) -> str:
    if value is None:
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
