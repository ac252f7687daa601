"""What an error becomes on the wire: one row for each class, and the same trailing metadata for all."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from orchestrator.errors import (
    ConflictError,
    DeadlineError,
    DeliveryError,
    FleetfitError,
    InvalidInputError,
    NoFeasibleModelError,
    NotFoundError,
    OperationError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
    WorkerLostError,
    WorkloadFailedError,
)

# Two classes with one status are told apart by their reason.
STATUS: Mapping[type[FleetfitError], grpc.StatusCode] = {
    FleetfitError: grpc.StatusCode.INTERNAL,
    InvalidInputError: grpc.StatusCode.INVALID_ARGUMENT,
    NoFeasibleModelError: grpc.StatusCode.FAILED_PRECONDITION,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    DeadlineError: grpc.StatusCode.DEADLINE_EXCEEDED,
    DeliveryError: grpc.StatusCode.ABORTED,
    OperationError: grpc.StatusCode.INTERNAL,
    WorkloadFailedError: grpc.StatusCode.INTERNAL,
    WorkerLostError: grpc.StatusCode.INTERNAL,
}

# HTTP/2 peers refuse header blocks of more than some kilobytes.
_TEXT_LIMIT_BYTES = 1500


def status_of(error: FleetfitError) -> grpc.StatusCode:
    """The gRPC status of the error's class, or of its nearest ancestor that has a row."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def trailing_metadata(error: FleetfitError, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """What a client needs to raise the same error again. Values that may be any text travel as UTF-8 bytes."""
    return (
        ("fleetfit-reason", error.reason),
        ("fleetfit-message-bin", _limited(error.message)),
        ("fleetfit-hint-bin", _limited(error.hint)),
        ("fleetfit-request-id", request_id),
    )


def _limited(text: str) -> bytes:
    return text.encode(errors="replace")[:_TEXT_LIMIT_BYTES].decode(errors="ignore").encode()
