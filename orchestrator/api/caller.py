"""Who calls: found out once by the interceptors, asked for by the services."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

from orchestrator.fleet.api_token import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """Someone who showed nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCaller:
    """A person or a script with an API token."""

    token_id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCaller:
    """A device, as its certificate names it."""

    device_id: str
    key_fingerprint: str
    certificate_expires_at: datetime


Caller = Anonymous | OperatorCaller | DeviceCaller

REQUEST_ID: ContextVar[str] = ContextVar("fleetfit_request_id", default="")
CALLER: ContextVar[Caller] = ContextVar("fleetfit_caller", default=Anonymous())  # noqa: B039 - it is frozen


def calling_device() -> DeviceCaller:
    """The device that calls. Only for methods that the access table keeps for devices."""
    caller = CALLER.get()
    if not isinstance(caller, DeviceCaller):
        raise TypeError(f"{type(caller).__name__} reached a method for devices: the access table is wrong")
    return caller


def calling_operator() -> OperatorCaller:
    """The operator who calls. Only for methods that the access table keeps for operators."""
    caller = CALLER.get()
    if not isinstance(caller, OperatorCaller):
        raise TypeError(f"{type(caller).__name__} reached a method for operators: the access table is wrong")
    return caller
