"""What a device's report does to its deployment, as one table. Pure.

Reports may arrive twice, late, and in any order. A deployment only ever moves forward, and what has ended stays ended.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.rollouts.rollout import DeploymentState

# Whether a device was removed from the fleet is not for the device to say.
_ENDS = frozenset(state for state in DeploymentState if state.final) - {DeploymentState.REMOVED}

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
    **{state: frozenset() for state in DeploymentState if state.final},
}  # fmt: skip


def moves(current: DeploymentState, reported: DeploymentState) -> bool:
    """Whether a report takes the deployment to another state; where it does not, the report is only kept."""
    return reported in MOVES[current]
