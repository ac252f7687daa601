"""Everything that the agent says when it cannot go on.

::

    AgentError
    ├── ConfigurationError       an option or a file of the agent is wrong          exit 2
    ├── JoinError                the device could not become part of a fleet        exit 5
    │   └── AuthorityMismatchError   another certificate authority than announced   exit 5
    ├── NotJoinedError           there is no identity yet                           exit 5
    ├── RevokedError             the orchestrator no longer knows this device       exit 5
    ├── UnreachableError         the orchestrator cannot be reached                 exit 6
    ├── BusyError                another agent or measurement holds this device     exit 7
    ├── NotMeasuredError         a model could not be measured                      exit 1
    └── DeliveryError            bytes or signatures are not what they should be    exit 1
        ├── ArtifactRefusedError     wrong size or hash
        ├── SignatureRefusedError    the release repository does not prove it
        ├── IncompatibleReleaseError another runtime, architecture, or older
        ├── ModelRefusedError        golden outputs or budgets do not hold
        └── NoSpaceError             the disk is too full to begin

A message says what was wrong and where; the hint says what to do. ``reason`` is stable: scripts may rely on it.
"""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Base of every error that a user of the agent may see."""

    reason: ClassVar[str] = "AGENT_ERROR"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigurationError(AgentError):
    """An option or a file of the agent is wrong."""

    reason = "CONFIGURATION"
    exit_code = 2


class JoinError(AgentError):
    """The device could not become part of a fleet."""

    reason = "JOIN_REFUSED"
    exit_code = 5


class AuthorityMismatchError(JoinError):
    """The server shows another certificate authority than the one that was announced; no secret was sent."""

    reason = "AUTHORITY_MISMATCH"


class NotJoinedError(AgentError):
    """There is no identity in the state directory yet."""

    reason = "NOT_JOINED"
    exit_code = 5


class RevokedError(AgentError):
    """The orchestrator no longer knows this device."""

    reason = "REVOKED"
    exit_code = 5


class UnreachableError(AgentError):
    """The orchestrator cannot be reached."""

    reason = "UNREACHABLE"
    exit_code = 6


class BusyError(AgentError):
    """Another agent or measurement holds this device."""

    reason = "BUSY"
    exit_code = 7


class NotMeasuredError(AgentError):
    """A model could not be measured."""

    reason = "NOT_MEASURED"


class DeliveryError(AgentError):
    """Bytes or signatures are not what they should be, or cannot be stored."""

    reason = "DELIVERY"


class ArtifactRefusedError(DeliveryError):
    """The bytes have another size or hash than the ones that were named."""

    reason = "ARTIFACT_REFUSED"


class SignatureRefusedError(DeliveryError):
    """The release repository does not prove what the orchestrator asks for."""

    reason = "SIGNATURE_REFUSED"


class IncompatibleReleaseError(DeliveryError):
    """The release is for another runtime or architecture, or older than what runs."""

    reason = "INCOMPATIBLE"


class ModelRefusedError(DeliveryError):
    """The model does not reproduce its golden outputs, or does not hold its budgets here."""

    reason = "MODEL_REFUSED"


class NoSpaceError(DeliveryError):
    """The disk is too full to begin."""

    reason = "NO_SPACE"
