"""What a device's report does to its deployment, as one table. Pure.

Reports may arrive twice, late, and in any order. A deployment only ever moves forward, and what has ended stays ended,
but for what a device can truly add: that it went back after all, or that it did what nobody expected of it any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.rollouts.rollout import DeploymentState

# Whether a device waits, was removed, skipped or aborted is not for the device to say.
_OUTCOMES = frozenset(
    {DeploymentState.ACTIVE, DeploymentState.REFUSED, DeploymentState.FAILED, DeploymentState.ROLLED_BACK}
)
_ENDS = _OUTCOMES | {DeploymentState.SUPERSEDED}

# Every move that a report can make. Steps may be skipped: the reports in between are on their way, or lost for good.
MOVES: Mapping[DeploymentState, frozenset[DeploymentState]] = {
    DeploymentState.PENDING: _ENDS | {
        DeploymentState.DOWNLOADING, DeploymentState.VERIFYING, DeploymentState.TESTING, DeploymentState.ACTIVATING,
    },
    DeploymentState.DOWNLOADING: _ENDS | {
        DeploymentState.VERIFYING, DeploymentState.TESTING, DeploymentState.ACTIVATING,
    },
    DeploymentState.VERIFYING: _ENDS | {DeploymentState.TESTING, DeploymentState.ACTIVATING},
    DeploymentState.TESTING: _ENDS | {DeploymentState.ACTIVATING},
    DeploymentState.ACTIVATING: _ENDS,
    # A device may go back long after it was healthy.
    DeploymentState.ACTIVE: frozenset({DeploymentState.ROLLED_BACK}),
    DeploymentState.SKIPPED_OFFLINE: _OUTCOMES,
    DeploymentState.ABORTED: _OUTCOMES,
    DeploymentState.WAITING: frozenset(),
    DeploymentState.REFUSED: frozenset(),
    DeploymentState.FAILED: frozenset(),
    DeploymentState.ROLLED_BACK: frozenset(),
    DeploymentState.SUPERSEDED: frozenset(),
    DeploymentState.REMOVED: frozenset(),
}  # fmt: skip


def moves(current: DeploymentState, reported: DeploymentState) -> bool:
    """Whether a report takes the deployment to another state; where it does not, the report is only kept."""
    return reported in MOVES[current]
