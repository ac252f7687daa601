"""Everything that the orchestrator and its clients say when they cannot go on.

::

    FleetfitError
    ├── InvalidInputError        what was given cannot be used        exit 2
    ├── NoFeasibleModelError     nothing meets every budget           exit 3
    ├── NotFoundError            no such device, search, release …    exit 4
    ├── UnauthenticatedError     no identity, or one that is over     exit 5
    ├── PermissionDeniedError    a known caller, not allowed to       exit 5
    ├── UnavailableError         server or device out of reach        exit 6
    ├── ConflictError            taken, used up, or in the way        exit 7
    ├── DeadlineError            it took longer than allowed          exit 8
    ├── DeliveryError            a rollout stopped or went back       exit 9
    └── OperationError           it was tried, and failed             exit 1
        ├── WorkloadFailedError  the user's code raised
        └── WorkerLostError      a worker process died, retries spent

A message says what was wrong and where; the hint says what to do. ``reason`` is stable: scripts may rely on it.
"""

from __future__ import annotations

from typing import ClassVar


class FleetfitError(Exception):
    """Base of every error that a user may see.

    Args:
        message: What was wrong, and where; one sentence without a full stop.
        hint: What to do about it; empty where nothing can be said.
        reason: A finer stable name than the class's own, in UPPER_SNAKE_CASE.
    """

    default_reason: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason or self.default_reason


class InvalidInputError(FleetfitError):
    """What was given cannot be used: a spec, a budget, a selector, a workload."""

    default_reason = "INVALID_INPUT"
    exit_code = 2


class NoFeasibleModelError(FleetfitError):
    """A search ended, and no candidate met every budget."""

    default_reason = "NO_FEASIBLE_MODEL"
    exit_code = 3


class NotFoundError(FleetfitError):
    """There is no such thing by that name or id."""

    default_reason = "NOT_FOUND"
    exit_code = 4


class UnauthenticatedError(FleetfitError):
    """The caller showed no identity, or one that is expired, used up or revoked."""

    default_reason = "UNAUTHENTICATED"
    exit_code = 5


class PermissionDeniedError(FleetfitError):
    """The caller is known and may not do this."""

    default_reason = "PERMISSION_DENIED"
    exit_code = 5


class UnavailableError(FleetfitError):
    """A server or a device could not be reached."""

    default_reason = "UNAVAILABLE"
    exit_code = 6


class ConflictError(FleetfitError):
    """The present state does not allow it: a name taken, a port in use, a search that has ended."""

    default_reason = "CONFLICT"
    exit_code = 7


class DeadlineError(FleetfitError):
    """It took longer than the caller allowed."""

    default_reason = "DEADLINE_EXCEEDED"
    exit_code = 8


class DeliveryError(FleetfitError):
    """A rollout ended without every device running the release."""

    default_reason = "DELIVERY_FAILED"
    exit_code = 9


class OperationError(FleetfitError):
    """It was tried, and failed."""

    default_reason = "OPERATION_FAILED"
    exit_code = 1


class WorkloadFailedError(OperationError):
    """The user's workload raised; the message names file and line."""

    default_reason = "WORKLOAD_FAILED"


class WorkerLostError(OperationError):
    """The process that did the work died, and so did each retry."""

    default_reason = "WORKER_LOST"
