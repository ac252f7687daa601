"""The updater: brings the device to the release that is wanted, one stored step at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from agent.backoff import Backoff
from agent.concurrency import within
from agent.delivery import Delivery
from agent.errors import (
    AgentError,
    ArtifactRefusedError,
    BusyError,
    IncompatibleReleaseError,
    SignatureRefusedError,
    UnreachableError,
)
from agent.update.actions import ActionResult, Actions, proven_manifest
from agent.update.compatibility import DeviceCapabilities
from agent.update.interfaces import ArtifactSource, Checker
from agent.update.journal import Deployment, Journal
from agent.update.proof import Prove, prove_apart
from agent.update.release import ActiveRelease, DeploymentReport, DesiredRelease
from agent.update.slots import Slots
from agent.update.states import REPORTED, Event, Step, action_of, advance, on_restart, replaceable
from agent.update.verify import ReleaseVerifier

_log = logging.getLogger(__name__)

_REASON_LIMIT = 500


def utc_now() -> datetime:
    """The present, in UTC."""
    return datetime.now(timezone.utc)


class Updater:
    """Works on one deployment at a time, the newest; belongs to one asyncio loop.

    What it is doing is in the journal before it is done, so it may be killed at any moment: `resume` goes on.

    Args:
        state_dir: The agent's state directory.
        delivery: Serves the release repository; trusted with nothing.
        artifacts: Downloads what a manifest names.
        profiler: Runs golden inputs through a model.
        report: Takes each step, durably, for the orchestrator. Called again with the same ``report_id`` after a crash.
        facts: What this device can run.
        clock: The time that signatures expire by.
        backoff: How long to wait where the orchestrator or the device is not available.
        prove: Runs the TUF client.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        delivery: Delivery,
        artifacts: ArtifactSource,
        profiler: Checker,
        report: Callable[[DeploymentReport], None],
        facts: DeviceCapabilities,
        clock: Callable[[], datetime] = utc_now,
        backoff: Backoff | None = None,
        prove: Prove = prove_apart,
    ) -> None:
        self._journal = Journal(state_dir / "updates.db")
        self._slots = Slots(state_dir)
        self._report_step = report
        self._clock = clock
        self._backoff = backoff or Backoff(initial_s=1.0, maximum_s=60.0)
        self._actions = Actions(
            journal=self._journal,
            slots=self._slots,
            verifier=ReleaseVerifier(trust_dir=state_dir / "trust", delivery=delivery, clock=clock, prove=prove),
            artifacts=artifacts,
            checker=profiler,
            device=facts,
        )
        self._work: asyncio.Task[None] | None = None
        # The action that is under way, and whose it is.
        self._action: asyncio.Task[ActionResult] | None = None
        self._working_on: Deployment | None = None
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    async def resume(self) -> None:
        """Begins to work, with what an earlier process left unfinished.

        Raises:
            NoSpaceError: The disk is full.
            ConfigurationError: The journal cannot be written.
        """
        for deployment in self._journal.unfinished():
            restarted = replace(deployment, restarts=deployment.restarts + 1)
            self._journal.record(restarted)
            if on_restart(restarted.step, restarted.restarts) is Event.FAILED:
                reason = f"the agent was restarted {restarted.restarts} times while {restarted.step.value}"
                self._advance(restarted, Event.FAILED, reason)
        # The process may have died between storing a step and reporting it.
        for stored in (*self._journal.unfinished(), self._journal.newest()):
            if stored is not None:
                self._report(stored)
        if not self._journal.unfinished():
            self._slots.collect()
        self._work = asyncio.create_task(self._run(), name="updater")
        self._work.add_done_callback(_log_end)

    async def desire(self, desired: DesiredRelease) -> None:
        """Takes up what the orchestrator wants. Said again, it changes nothing; a newer wish replaces an older one.

        Raises:
            NoSpaceError: The disk is full; nothing was changed.
            ConfigurationError: The journal cannot be written; nothing was changed.
        """
        known = self._journal.find(desired.deployment_id)
        deployment = self._journal.add(desired) if known is None else known
        self._interrupt()
        self._idle.clear()
        self._wake.set()
        if known is None or known.step.final:
            # One that has ended here is not begun again: the orchestrator must have missed how.
            self._report(deployment)

    def active(self) -> ActiveRelease | None:
        """What ``current`` really points to; None where nothing is served."""
        manifest = self._slots.served()
        if manifest is None:
            return None
        return ActiveRelease(manifest_sha256=manifest.sha256, name=manifest.name, version=manifest.version)

    async def settled(self) -> None:
        """Returns when nothing is left to do.

        Raises:
            Exception: Whatever ended the work, if it did not end by `close`.
        """
        if self._work is None:
            return
        waiting = asyncio.ensure_future(self._idle.wait())
        try:
            await asyncio.wait({waiting, self._work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._work.done():
            self._work.result()

    async def close(self) -> None:
        """Stops where it is; a later process resumes."""
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
        self._journal.close()

    async def _run(self) -> None:
        while True:
            try:
                deployment = self._next()
                if deployment is None:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                self._idle.clear()
                await self._step(deployment)
            except AgentError as error:
                # The journal, the outbox or the links could not be written: nothing is done that is not stored.
                _log.warning("cannot go on with the update: %s", error.message)
                await self._pause()

    def _next(self) -> Deployment | None:
        """The deployment to work on: one that is past the switch, else the newest; those in between are over."""
        unfinished = self._journal.unfinished()
        for older in unfinished[:-1]:
            if not replaceable(older.step):
                return older
            self._advance(older, Event.SUPERSEDED, "a newer release took its place")
        return unfinished[-1] if unfinished else None

    async def _step(self, deployment: Deployment) -> None:
        """Does what the deployment's step asks for, and stores where it leads."""
        self._working_on = deployment
        self._action = asyncio.create_task(self._actions.perform(action_of(deployment.step), deployment))
        try:
            await asyncio.wait({self._action})
        except asyncio.CancelledError:
            self._action.cancel()
            await asyncio.wait({self._action})
            raise
        finally:
            action, self._action = self._action, None
        if self._outdated(deployment):
            return
        event, moved, reason = _outcome(action, deployment)
        if advance(deployment.step, event)[0] is deployment.step:
            _log.info("%s waits while %s: %s", deployment.id, deployment.step.value, reason)
            await self._pause()
        else:
            self._advance(moved, event, reason)
            self._backoff.reset()

    def _outdated(self, deployment: Deployment) -> bool:
        """Whether a newer release was asked for while there is still time for it."""
        newest = self._journal.newest()
        return newest is not None and newest.id != deployment.id and replaceable(deployment.step)

    def _advance(self, deployment: Deployment, event: Event, reason: str) -> None:
        """Stores the next step, then reports it, then tidies up where it is the last."""
        step, _ = advance(deployment.step, event)
        moved = replace(deployment, step=step, reason=" ".join(reason.split())[:_REASON_LIMIT], restarts=0)
        self._journal.record(moved, floor=proven_manifest(moved) if step is Step.ACTIVE else None)
        if REPORTED[step] is not REPORTED[deployment.step]:
            self._report(moved)
        if step.final:
            _log.info("%s ended: %s%s", moved.id, step.value, f", {moved.reason}" if moved.reason else "")
            self._slots.collect(keep=[other.desired.manifest_sha256 for other in self._journal.unfinished()])

    def _report(self, deployment: Deployment) -> None:
        state = REPORTED[deployment.step]
        self._report_step(
            DeploymentReport(
                # The same step of the same deployment is the same report, however often it is made.
                report_id=f"{deployment.id}:{state.value}",
                deployment_id=deployment.id,
                state=state,
                reported_at=self._clock(),
                reason=deployment.reason if deployment.step.final else "",
                active_release=self.active(),
            )
        )

    def _interrupt(self) -> None:
        """Ends the action under way where a newer release may take its place."""
        if self._action is not None and self._working_on is not None and self._outdated(self._working_on):
            self._action.cancel()

    async def _pause(self) -> None:
        """Waits a while, or until the orchestrator says what it wants."""
        self._wake.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await within(self._wake.wait(), timeout_s=self._backoff.next_s())


def _outcome(action: asyncio.Task[ActionResult], deployment: Deployment) -> tuple[Event, Deployment, str]:
    """What an action that has ended means: the event, the deployment with what was learnt, and why."""
    if action.cancelled():
        return Event.RESUMED, deployment, "interrupted"
    error = action.exception()
    if error is None:
        result = action.result()
        return result.event, result.deployment, deployment.reason
    if isinstance(error, (UnreachableError, BusyError)):
        return Event.RESUMED, deployment, error.message
    if isinstance(error, (SignatureRefusedError, ArtifactRefusedError, IncompatibleReleaseError)):
        return Event.REFUSED, deployment, error.message
    if isinstance(error, AgentError):
        return Event.FAILED, deployment, error.message
    if not isinstance(error, Exception):
        raise error
    # A fault of ours must not stop the device from taking the next release; it is shown, here and to the operator.
    _log.error("%s failed while %s", deployment.id, deployment.step.value, exc_info=error)
    return Event.FAILED, deployment, f"internal error: {type(error).__name__}: {error}"


def _log_end(work: asyncio.Task[None]) -> None:
    """Nobody waits for the work, so what ends it would go unnoticed."""
    if not work.cancelled() and (error := work.exception()) is not None:
        _log.critical("the updater has stopped", exc_info=error)
