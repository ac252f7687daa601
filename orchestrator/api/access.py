"""Who may call which method. What is not in this table is denied."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from orchestrator.api.caller import Anonymous, Caller, DeviceCaller, OperatorCaller
from orchestrator.errors import PermissionDeniedError, UnauthenticatedError
from orchestrator.fleet.api_token import Role


class Access(Enum):
    """Who may call a method. An operator's role includes the ones before it."""

    ANYONE = "anyone"
    DEVICE = "device"
    VIEWER = "viewer"
    OPERATOR = "operator"
    SIGNER = "signer"
    ADMIN = "admin"


ACCESS: Mapping[str, Access] = {
    "/fleetfit.v1.ApiTokenService/CreateApiToken": Access.ADMIN,
    "/fleetfit.v1.ApiTokenService/ListApiTokens": Access.ADMIN,
    "/fleetfit.v1.ApiTokenService/RevokeApiToken": Access.ADMIN,
    "/fleetfit.v1.AuditService/ListAuditEntries": Access.ADMIN,
    "/fleetfit.v1.AuditService/VerifyAuditLog": Access.ADMIN,
    "/fleetfit.v1.DeliveryService/FetchArtifact": Access.DEVICE,
    "/fleetfit.v1.DeliveryService/FetchRepositoryFile": Access.DEVICE,
    "/fleetfit.v1.DeviceService/GetDevice": Access.VIEWER,
    "/fleetfit.v1.DeviceService/LabelDevice": Access.OPERATOR,
    "/fleetfit.v1.DeviceService/ListDevices": Access.VIEWER,
    "/fleetfit.v1.DeviceService/RemoveDevice": Access.OPERATOR,
    "/fleetfit.v1.EnrolmentService/Enrol": Access.ANYONE,
    "/fleetfit.v1.EnrolmentService/GetAuthority": Access.ANYONE,
    "/fleetfit.v1.EnrolmentService/Renew": Access.DEVICE,
    "/fleetfit.v1.JoinTokenService/CreateJoinToken": Access.OPERATOR,
    "/fleetfit.v1.JoinTokenService/ListJoinTokens": Access.VIEWER,
    "/fleetfit.v1.JoinTokenService/RevokeJoinToken": Access.OPERATOR,
    "/fleetfit.v1.ReleaseService/CreateRelease": Access.SIGNER,
    "/fleetfit.v1.ReleaseService/GetRelease": Access.VIEWER,
    "/fleetfit.v1.ReleaseService/ListReleases": Access.VIEWER,
    "/fleetfit.v1.RolloutService/AbortRollout": Access.OPERATOR,
    "/fleetfit.v1.RolloutService/CreateRollout": Access.OPERATOR,
    "/fleetfit.v1.RolloutService/GetRollout": Access.VIEWER,
    "/fleetfit.v1.RolloutService/ListRollouts": Access.VIEWER,
    "/fleetfit.v1.RolloutService/PauseRollout": Access.OPERATOR,
    "/fleetfit.v1.RolloutService/ResumeRollout": Access.OPERATOR,
    "/fleetfit.v1.RolloutService/RetryRollout": Access.OPERATOR,
    "/fleetfit.v1.RolloutService/RollBackRollout": Access.OPERATOR,
    "/fleetfit.v1.RolloutService/WatchRollout": Access.VIEWER,
    "/fleetfit.v1.SearchService/CancelSearch": Access.OPERATOR,
    "/fleetfit.v1.SearchService/CreateSearch": Access.OPERATOR,
    "/fleetfit.v1.SearchService/DownloadTrialArtifact": Access.VIEWER,
    "/fleetfit.v1.SearchService/GetSearch": Access.VIEWER,
    "/fleetfit.v1.SearchService/GetSearchReport": Access.VIEWER,
    "/fleetfit.v1.SearchService/ListSearches": Access.VIEWER,
    "/fleetfit.v1.SearchService/WatchSearch": Access.VIEWER,
    "/fleetfit.v1.ServerService/GetServerInfo": Access.VIEWER,
    "/fleetfit.v1.SessionService/Connect": Access.DEVICE,
}

# Calls that only look. Whatever else a person may call changes something, and is recorded.
_LOOKS = frozenset({
    "/fleetfit.v1.ApiTokenService/ListApiTokens",
    "/fleetfit.v1.AuditService/ListAuditEntries",
    "/fleetfit.v1.AuditService/VerifyAuditLog",
})  # fmt: skip
RECORDED = (
    frozenset(method for method, access in ACCESS.items() if access in (Access.OPERATOR, Access.SIGNER, Access.ADMIN))
    - _LOOKS
)
# Anyone may ask for these, so that only what came of it is recorded: strangers could fill the log.
RECORDED_WHEN_DONE = frozenset({"/fleetfit.v1.EnrolmentService/Enrol"})

_RANK = {Role.VIEWER: 1, Role.OPERATOR: 2, Role.SIGNER: 3, Role.ADMIN: 4}
_NEEDED = {
    Access.VIEWER: Role.VIEWER,
    Access.OPERATOR: Role.OPERATOR,
    Access.SIGNER: Role.SIGNER,
    Access.ADMIN: Role.ADMIN,
}


def authorise(method: str, caller: Caller) -> None:
    """Lets the call pass.

    Args:
        method: Full name, ``/package.Service/Method``.
        caller: Who calls.

    Raises:
        UnauthenticatedError: The caller showed nothing, and the method is not for anyone.
        PermissionDeniedError: The caller is known, and the method is not for them, or is in no row of the table.
    """
    access = ACCESS.get(method)
    if access is Access.ANYONE:
        return
    if isinstance(caller, Anonymous):
        raise _nothing_shown(access)
    if access is Access.DEVICE and isinstance(caller, DeviceCaller):
        return
    if access in _NEEDED and isinstance(caller, OperatorCaller):
        needed = _NEEDED[access]
        if _RANK[caller.role] >= _RANK[needed]:
            return
        raise PermissionDeniedError(
            f"{_short(method)} needs the role {needed.value}, and the token '{caller.name}' has {caller.role.value}",
            hint="use a token with that role",
        )
    raise PermissionDeniedError(f"{_short(method)} is not for this kind of caller")


def _nothing_shown(access: Access | None) -> UnauthenticatedError:
    if access is Access.DEVICE:
        return UnauthenticatedError("no device certificate was shown", hint="connect to the port for devices")
    return UnauthenticatedError("no API token was shown", hint="give one with --token-file or FLEETFIT_TOKEN")


def _short(method: str) -> str:
    return method.rpartition("/")[2]
