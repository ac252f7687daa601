"""The life of a deployment on the device as one table: where it is, what happened, where it goes, what to do there.

Pure: no clock, no disk, no network. A step is stored before the action it names is begun, and every action may be
done again, so whatever is killed at any moment goes on from the step that was stored last.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from agent.update.release import DeploymentState


class Step(str, Enum):
    """Where a deployment is. Up to TESTING nothing that runs is touched; after it, the switch may have happened."""

    PENDING = "pending"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    TESTING = "testing"
    ACTIVATING = "activating"
    CONFIRMING = "confirming"
    ROLLING_BACK = "rolling_back"
    ACTIVE = "active"
    REFUSED = "refused"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"

    @property
    def final(self) -> bool:
        """Whether the deployment has ended."""
        return self in _FINAL


_FINAL = frozenset({Step.ACTIVE, Step.REFUSED, Step.FAILED, Step.ROLLED_BACK, Step.SUPERSEDED})


class Event(str, Enum):
    """What can happen to a deployment."""

    # The step begins, or begins again: after a crash, a loss of power or of the connection.
    RESUMED = "resumed"
    PROVEN = "proven"
    FETCHED = "fetched"
    STORED = "stored"
    PASSED = "passed"
    SWITCHED = "switched"
    CONFIRMED = "confirmed"
    RESTORED = "restored"
    # A signature, a hash, a size or the compatibility does not hold.
    REFUSED = "refused"
    FAILED = "failed"
    # The orchestrator wants another release by now.
    SUPERSEDED = "superseded"


class Action(str, Enum):
    """What to do in a step. Each may be done again at no harm."""

    # The release repository proves the manifest; it suits this device.
    PROVE = "prove"
    FETCH = "fetch"
    # Lay the slot out and hash what the disk gives back.
    STORE = "store"
    # Golden inputs through the model in the slot, in a process of its own.
    TEST = "test"
    SWITCH = "switch"
    # What `current` leads to is whole and is the release.
    CONFIRM = "confirm"
    # Back to what was served before.
    RESTORE = "restore"
    # Remove what nothing refers to any more.
    COLLECT = "collect"
    NOTHING = "nothing"


# What is not here changes nothing: an event that comes too late, or does not belong to the step.
TRANSITIONS: Mapping[tuple[Step, Event], tuple[Step, Action]] = {
    (Step.PENDING,      Event.RESUMED):    (Step.PENDING,      Action.PROVE),
    (Step.PENDING,      Event.PROVEN):     (Step.DOWNLOADING,  Action.FETCH),
    (Step.PENDING,      Event.REFUSED):    (Step.REFUSED,      Action.COLLECT),
    (Step.PENDING,      Event.FAILED):     (Step.FAILED,       Action.COLLECT),
    (Step.PENDING,      Event.SUPERSEDED): (Step.SUPERSEDED,   Action.COLLECT),

    (Step.DOWNLOADING,  Event.RESUMED):    (Step.DOWNLOADING,  Action.FETCH),
    (Step.DOWNLOADING,  Event.FETCHED):    (Step.VERIFYING,    Action.STORE),
    (Step.DOWNLOADING,  Event.REFUSED):    (Step.REFUSED,      Action.COLLECT),
    (Step.DOWNLOADING,  Event.FAILED):     (Step.FAILED,       Action.COLLECT),
    (Step.DOWNLOADING,  Event.SUPERSEDED): (Step.SUPERSEDED,   Action.COLLECT),

    (Step.VERIFYING,    Event.RESUMED):    (Step.VERIFYING,    Action.STORE),
    (Step.VERIFYING,    Event.STORED):     (Step.TESTING,      Action.TEST),
    (Step.VERIFYING,    Event.REFUSED):    (Step.REFUSED,      Action.COLLECT),
    (Step.VERIFYING,    Event.FAILED):     (Step.FAILED,       Action.COLLECT),
    (Step.VERIFYING,    Event.SUPERSEDED): (Step.SUPERSEDED,   Action.COLLECT),

    (Step.TESTING,      Event.RESUMED):    (Step.TESTING,      Action.TEST),
    (Step.TESTING,      Event.PASSED):     (Step.ACTIVATING,   Action.SWITCH),
    (Step.TESTING,      Event.REFUSED):    (Step.REFUSED,      Action.COLLECT),
    (Step.TESTING,      Event.FAILED):     (Step.FAILED,       Action.COLLECT),
    (Step.TESTING,      Event.SUPERSEDED): (Step.SUPERSEDED,   Action.COLLECT),

    # From here on a newer release waits: what was begun at the switch is brought to an end.
    (Step.ACTIVATING,   Event.RESUMED):    (Step.ACTIVATING,   Action.SWITCH),
    (Step.ACTIVATING,   Event.SWITCHED):   (Step.CONFIRMING,   Action.CONFIRM),
    (Step.ACTIVATING,   Event.REFUSED):    (Step.ROLLING_BACK, Action.RESTORE),
    (Step.ACTIVATING,   Event.FAILED):     (Step.ROLLING_BACK, Action.RESTORE),

    (Step.CONFIRMING,   Event.RESUMED):    (Step.CONFIRMING,   Action.CONFIRM),
    (Step.CONFIRMING,   Event.CONFIRMED):  (Step.ACTIVE,       Action.COLLECT),
    (Step.CONFIRMING,   Event.REFUSED):    (Step.ROLLING_BACK, Action.RESTORE),
    (Step.CONFIRMING,   Event.FAILED):     (Step.ROLLING_BACK, Action.RESTORE),

    # There is no way out of going back but to have gone back.
    (Step.ROLLING_BACK, Event.RESUMED):    (Step.ROLLING_BACK, Action.RESTORE),
    (Step.ROLLING_BACK, Event.RESTORED):   (Step.ROLLED_BACK,  Action.COLLECT),
    (Step.ROLLING_BACK, Event.REFUSED):    (Step.ROLLING_BACK, Action.RESTORE),
    (Step.ROLLING_BACK, Event.FAILED):     (Step.ROLLING_BACK, Action.RESTORE),
}  # fmt: skip

# What the orchestrator is told of each step.
REPORTED: Mapping[Step, DeploymentState] = {
    Step.PENDING: DeploymentState.PENDING,
    Step.DOWNLOADING: DeploymentState.DOWNLOADING,
    Step.VERIFYING: DeploymentState.VERIFYING,
    Step.TESTING: DeploymentState.TESTING,
    Step.ACTIVATING: DeploymentState.ACTIVATING,
    Step.CONFIRMING: DeploymentState.ACTIVATING,
    Step.ROLLING_BACK: DeploymentState.ACTIVATING,
    Step.ACTIVE: DeploymentState.ACTIVE,
    Step.REFUSED: DeploymentState.REFUSED,
    Step.FAILED: DeploymentState.FAILED,
    Step.ROLLED_BACK: DeploymentState.ROLLED_BACK,
    Step.SUPERSEDED: DeploymentState.SUPERSEDED,
}

# How often the agent may start again in the same step before the step itself is held responsible. Waiting for the
# orchestrator harms nobody, and going back has no alternative: those are not limited.
RESTARTS_ALLOWED: Mapping[Step, int] = {
    Step.VERIFYING: 10,
    Step.TESTING: 3,
    Step.ACTIVATING: 10,
    Step.CONFIRMING: 3,
}


def advance(step: Step, event: Event) -> tuple[Step, Action]:
    """The next step and what to do in it; the same step and nothing to do where the event does not belong."""
    return TRANSITIONS.get((step, event), (step, Action.NOTHING))


def action_of(step: Step) -> Action:
    """What to do in a step that was found in the journal."""
    return advance(step, Event.RESUMED)[1]


def replaceable(step: Step) -> bool:
    """Whether a newer release may take the place of a deployment in this step."""
    return (step, Event.SUPERSEDED) in TRANSITIONS


def on_restart(step: Step, restarts: int) -> Event:
    """What a start of the agent means for a deployment that has been found in the same step ``restarts`` times."""
    allowed = RESTARTS_ALLOWED.get(step)
    return Event.RESUMED if allowed is None or restarts <= allowed else Event.FAILED
