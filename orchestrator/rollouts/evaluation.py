"""What a rollout does next, from where its devices are: a wave starts, the rollout pauses, or it ends. Pure.

A wave lets the next one start when enough of its devices serve the release; one that has ended below its success
threshold pauses the rollout, and so does one with too many failures. Devices that were removed, superseded or skipped
are in no denominator. Pausing holds back devices whose turn has not come; where there are none, the rollout goes on to
its end and fails if it must.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from orchestrator.rollouts.plan import Plan
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout, RolloutState

_TOLERANCE = 1e-9
_ABSENT = frozenset({DeploymentState.SUPERSEDED, DeploymentState.REMOVED, DeploymentState.ABORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The rollout as it should be, and those of its deployments that should change."""

    rollout: Rollout
    changed: tuple[Deployment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One wave, counted."""

    # Devices that could have taken part, offline ones included.
    present: int
    # Of these, the ones that are waited for or have ended.
    eligible: int
    healthy: int
    failed: int
    ended: bool

    @property
    def done(self) -> int:
        """Devices that tried, with either end."""
        return self.healthy + self.failed

    def succeeds(self, plan: Plan) -> bool:
        """Whether enough of those that count serve the release."""
        return self.healthy >= plan.success_fraction * self.eligible - _TOLERANCE

    def sampled(self, plan: Plan) -> bool:
        """Whether enough devices have ended for a conclusion; a wave smaller than that must end whole."""
        return self.done >= min(plan.minimum_sample, self.present)

    def errs(self, plan: Plan) -> bool:
        """Whether too many have failed; exactly at the threshold is too many."""
        sample = max(self.done, min(plan.minimum_sample, self.present))
        return self.failed > 0 and self.failed >= plan.error_fraction * sample - _TOLERANCE


def tally(deployments: Iterable[Deployment]) -> Tally:
    """The count of one wave's deployments."""
    present = [each for each in deployments if each.state not in _ABSENT and not each.excused]
    states = Counter(each.state for each in present)
    return Tally(
        present=len(present),
        eligible=len(present) - states[DeploymentState.SKIPPED_OFFLINE],
        healthy=states[DeploymentState.ACTIVE],
        failed=sum(count for state, count in states.items() if state.failure),
        ended=all(each.state.final for each in present),
    )


def evaluate(
    rollout: Rollout, deployments: Sequence[Deployment], *, offline: Collection[str], now: datetime
) -> Evaluation:
    """What the rollout and its deployments should be now; the same again where nothing is to be done.

    Args:
        rollout: As it is stored.
        deployments: All of its deployments.
        offline: Ids of the devices that are not heard of.
        now: The present.
    """
    current = list(deployments)
    match rollout.state:
        case RolloutState.RUNNING:
            current = [_skipped(each, rollout.plan, offline=offline, now=now) for each in current]
            after = _advanced(rollout, current, now=now)
            if after.state is RolloutState.RUNNING:
                current = _started(after, current, offline=offline, now=now)
        case RolloutState.ABORTING:
            current = [_withdrawn(each, offline=offline, now=now) for each in current]
            over = all(each.state.final for each in current)
            after = _ended(rollout, RolloutState.ABORTED, current, now=now) if over else rollout
        case RolloutState.PAUSED:
            over = all(each.state.final for each in current)
            after = _ended(rollout, _outcome(rollout.plan, current), current, now=now) if over else rollout
        case RolloutState.SUCCEEDED | RolloutState.FAILED:
            # A device went back later, or came back at last: the truth counts, not the time.
            after = replace(rollout, state=_outcome(rollout.plan, current), reason=summary(current))
        case RolloutState.SUPERSEDED | RolloutState.ABORTED:
            after = replace(rollout, reason=summary(current))
    changed = tuple(new for new, old in zip(current, deployments, strict=True) if new != old)
    return Evaluation(rollout=after, changed=changed)


def offered(rollout: Rollout, deployment: Deployment, others: Iterable[Deployment]) -> bool:
    """Whether the device should be told of the release now.

    Args:
        rollout: The rollout.
        deployment: The device's part in it.
        others: All parts in it; looked at only for a device that was skipped.
    """
    if deployment.state is DeploymentState.PENDING:
        return rollout.state is RolloutState.RUNNING
    if deployment.state is DeploymentState.SKIPPED_OFFLINE:
        # It comes back to what the fleet runs by now, and not to what the fleet could not run.
        if rollout.state is RolloutState.FAILED:
            return not any(each.state.failure for each in others)
        return rollout.state in (RolloutState.RUNNING, RolloutState.SUCCEEDED)
    return deployment.state.begun and rollout.state is not RolloutState.ABORTING


def summary(deployments: Sequence[Deployment]) -> str:
    """How many devices are where, and the first reason of one that does not serve it: "2 active, 1 refused: …"."""
    counts = Counter(deployment.state for deployment in deployments)
    how = ", ".join(f"{counts[state]} {state.value.replace('_', ' ')}" for state in DeploymentState if counts[state])
    # A failure says more than a device that was merely not there.
    others = sorted(
        (each for each in deployments if each.state is not DeploymentState.ACTIVE),
        key=lambda each: not each.state.failure,
    )
    first = next((each.reason for each in others if each.reason), "")
    return f"{how}: {first}" if first else how


def _advanced(rollout: Rollout, deployments: Sequence[Deployment], *, now: datetime) -> Rollout:
    """The rollout in the wave that it should be in, paused, or ended."""
    last = max((each.wave for each in deployments), default=0)
    held_back = any(each.state is DeploymentState.WAITING for each in deployments)
    if not held_back and all(each.state.final for each in deployments):
        return _ended(replace(rollout, wave=last), _outcome(rollout.plan, deployments), deployments, now=now)
    if held_back:
        for wave in range(rollout.wave + 1):
            counted = tally(_members(deployments, wave))
            if counted.errs(rollout.plan):
                why = f"{counted.failed} of {counted.done} devices of wave {wave + 1} failed"
                return _paused(rollout, why, deployments)
    for wave in range(rollout.wave, last):
        members = _members(deployments, wave)
        counted = tally(members)
        enough = counted.sampled(rollout.plan) and counted.succeeds(rollout.plan)
        if not enough and counted.ended:
            why = (
                f"wave {wave + 1} ended with {counted.healthy} of {counted.eligible} devices healthy"
                if counted.sampled(rollout.plan)
                else f"only {counted.done} devices of wave {wave + 1} answered"
            )
            return _paused(replace(rollout, wave=wave), why, deployments)
        if not enough or not _soaked(members, rollout.plan, now=now):
            return replace(rollout, wave=wave)
    return replace(rollout, wave=last)


def _soaked(members: Sequence[Deployment], plan: Plan, *, now: datetime) -> bool:
    ends = [each.updated_at for each in members if each.state is DeploymentState.ACTIVE or each.state.failure]
    return not ends or now - max(ends) >= timedelta(seconds=plan.soak_s)


def _started(
    rollout: Rollout, deployments: Sequence[Deployment], *, offline: Collection[str], now: datetime
) -> list[Deployment]:
    """The deployments, those begun whose turn it is, as many as may run at once."""
    busy = sum(
        not each.state.final and each.state is not DeploymentState.WAITING and each.device_id not in offline
        for each in deployments
    )
    started = []
    for each in deployments:
        turn = each.state is DeploymentState.WAITING and each.wave <= rollout.wave
        free = not rollout.plan.max_parallel or busy < rollout.plan.max_parallel
        if turn and (free or each.device_id in offline):
            busy += each.device_id not in offline
            started.append(replace(each, state=DeploymentState.PENDING, started_at=now, updated_at=now))
        else:
            started.append(each)
    return started


def _skipped(deployment: Deployment, plan: Plan, *, offline: Collection[str], now: datetime) -> Deployment:
    """The deployment, given up where its device has been offline for too long."""
    if plan.offline_deadline_s is None or deployment.started_at is None or deployment.state.final:
        return deployment
    if deployment.device_id not in offline or (now - deployment.started_at).total_seconds() < plan.offline_deadline_s:
        return deployment
    reason = "the device was offline past the deadline"
    return replace(deployment, state=DeploymentState.SKIPPED_OFFLINE, reason=reason, updated_at=now)


def _withdrawn(deployment: Deployment, *, offline: Collection[str], now: datetime) -> Deployment:
    """The deployment, ended unless its device has begun and can still tell how it ends."""
    if deployment.state.final or (deployment.state.begun and deployment.device_id not in offline):
        return deployment
    return replace(deployment, state=DeploymentState.ABORTED, reason="the rollout was aborted", updated_at=now)


def _members(deployments: Sequence[Deployment], wave: int) -> list[Deployment]:
    return [each for each in deployments if each.wave == wave]


def _outcome(plan: Plan, deployments: Sequence[Deployment]) -> RolloutState:
    """How a rollout has ended. Only devices that really run the release count: "written" is not success."""
    states = {each.state for each in deployments}
    failed = any(each.state.failure for each in deployments)
    if DeploymentState.ACTIVE not in states:
        superseded = DeploymentState.SUPERSEDED in states and not failed
        return RolloutState.SUPERSEDED if superseded else RolloutState.FAILED
    waves = {each.wave for each in deployments}
    if not all(tally(_members(deployments, wave)).succeeds(plan) for wave in waves):
        return RolloutState.FAILED
    return RolloutState.SUPERSEDED if DeploymentState.SUPERSEDED in states else RolloutState.SUCCEEDED


def _ended(rollout: Rollout, state: RolloutState, deployments: Sequence[Deployment], *, now: datetime) -> Rollout:
    return replace(rollout, state=state, reason=summary(deployments), finished_at=now)


def _paused(rollout: Rollout, why: str, deployments: Sequence[Deployment]) -> Rollout:
    first = next((each.reason for each in deployments if each.state.failure and each.reason), "")
    return replace(rollout, state=RolloutState.PAUSED, reason=f"{why}: {first}" if first else why)
