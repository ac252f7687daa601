"""What is done in each step of a deployment, and what may come of it. Every action may be done again at no harm."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from agent.errors import ArtifactRefusedError, BusyError, IncompatibleReleaseError, ModelRefusedError
from agent.profiling.measurement import Measurement, Outcome
from agent.update.compatibility import DeviceCapabilities, check_not_older, suitable_runtime
from agent.update.interfaces import ArtifactSource, Checker
from agent.update.journal import Deployment, Journal
from agent.update.manifest import Manifest, parse_manifest
from agent.update.slots import Slots
from agent.update.states import Action, Event
from agent.update.thread import run_to_end
from agent.update.verify import ReleaseVerifier

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """What came of an action: the event, and the deployment with what was learnt."""

    event: Event
    deployment: Deployment


class Actions:
    """The actions of the table of transitions, by their name there."""

    def __init__(
        self,
        *,
        journal: Journal,
        slots: Slots,
        verifier: ReleaseVerifier,
        artifacts: ArtifactSource,
        checker: Checker,
        device: DeviceCapabilities,
    ) -> None:
        self._journal = journal
        self._slots = slots
        self._verifier = verifier
        self._artifacts = artifacts
        self._checker = checker
        self._device = device
        self._by_name: Mapping[Action, Callable[[Deployment], Awaitable[ActionResult]]] = {
            Action.PROVE: self._prove,
            Action.FETCH: self._fetch,
            Action.STORE: self._store,
            Action.TEST: self._test,
            Action.SWITCH: self._switch,
            Action.CONFIRM: self._confirm,
            Action.RESTORE: self._restore,
        }

    async def perform(self, action: Action, deployment: Deployment) -> ActionResult:
        """Does what the step asks for.

        Raises:
            SignatureRefusedError: The release repository does not prove the release.
            ArtifactRefusedError: Bytes are not the ones that were signed.
            IncompatibleReleaseError: The release is not for this device, or older than what it ran.
            ModelRefusedError: The model does not do here what it should.
            BusyError: The device is busy; later.
            UnreachableError: The orchestrator went away; later.
            NoSpaceError: The disk is full.
            ConfigurationError: The disk does not take or give what it should.
        """
        return await self._by_name[action](deployment)

    async def _prove(self, deployment: Deployment) -> ActionResult:
        manifest, manifest_json = await self._verifier.prove(deployment.desired)
        suitable_runtime(manifest, self._device)
        served = self._slots.served()
        running = served.counter if served is not None and served.name == manifest.name else 0
        check_not_older(manifest, max(running, self._journal.floor(manifest.name)))
        return ActionResult(event=Event.PROVEN, deployment=replace(deployment, manifest_json=manifest_json))

    async def _fetch(self, deployment: Deployment) -> ActionResult:
        manifest = proven_manifest(deployment)
        await self._artifacts.fetch(manifest.golden.sha256, manifest.golden.size_bytes)
        await self._artifacts.fetch(manifest.file.sha256, manifest.file.size_bytes)
        return ActionResult(event=Event.FETCHED, deployment=deployment)

    async def _store(self, deployment: Deployment) -> ActionResult:
        manifest = proven_manifest(deployment)
        artifact = await self._artifacts.fetch(manifest.file.sha256, manifest.file.size_bytes)

        def work() -> None:
            self._slots.build(manifest, deployment.manifest_json, artifact)
            self._slots.verify(manifest.sha256)

        await run_to_end(work)
        return ActionResult(event=Event.STORED, deployment=deployment)

    async def _test(self, deployment: Deployment) -> ActionResult:
        manifest = proven_manifest(deployment)
        golden_path = await self._artifacts.fetch(manifest.golden.sha256, manifest.golden.size_bytes)
        measurement = await self._checker.check(
            artifact_path=self._slots.model_path(manifest),
            artifact_format=manifest.file.format,
            golden_path=golden_path,
            tolerance=manifest.golden.tolerance,
            runtime=suitable_runtime(manifest, self._device),
            on_progress=lambda stage: _log.debug("%s: %s", deployment.id, stage),
        )
        _judge(measurement)
        # Where to go back to is stored with the step, before the switch makes it hard to tell.
        current, previous = self._slots.current, self._slots.previous
        replaces = previous if current == manifest.sha256 else current
        return ActionResult(event=Event.PASSED, deployment=replace(deployment, replaces=replaces or ""))

    async def _switch(self, deployment: Deployment) -> ActionResult:
        manifest_sha256 = deployment.desired.manifest_sha256
        await run_to_end(lambda: self._slots.switch(manifest_sha256))
        return ActionResult(event=Event.SWITCHED, deployment=deployment)

    async def _confirm(self, deployment: Deployment) -> ActionResult:
        manifest_sha256 = deployment.desired.manifest_sha256
        if self._slots.current != manifest_sha256:
            raise ModelRefusedError("after the switch something else is served")
        await run_to_end(lambda: self._slots.verify(manifest_sha256))
        return ActionResult(event=Event.CONFIRMED, deployment=deployment)

    async def _restore(self, deployment: Deployment) -> ActionResult:
        await run_to_end(lambda: self._slots.restore(deployment.replaces or None))
        return ActionResult(event=Event.RESTORED, deployment=deployment)


def proven_manifest(deployment: Deployment) -> Manifest:
    """The manifest that was proven for a deployment and has been in the journal since.

    Raises:
        ArtifactRefusedError: The journal gives back other bytes than were proven.
    """
    manifest = parse_manifest(deployment.manifest_json)
    if manifest.sha256 != deployment.desired.manifest_sha256:
        raise ArtifactRefusedError("the journal holds another manifest than was proven")
    return manifest


def _judge(measurement: Measurement) -> None:
    """Lets a model pass that ran and reproduced its golden outputs.

    Raises:
        IncompatibleReleaseError: No runtime here runs it.
        ArtifactRefusedError: The worker was given other bytes.
        BusyError: The test was called off.
        ModelRefusedError: Everything else.
    """
    detail = f": {measurement.detail}" if measurement.detail else ""
    if measurement.outcome in (Outcome.UNSUPPORTED, Outcome.RUNTIME_UNAVAILABLE):
        raise IncompatibleReleaseError(f"no runtime of this device runs the model{detail}")
    if measurement.outcome is Outcome.ARTIFACT_REFUSED:
        raise ArtifactRefusedError(f"the model cannot be read{detail}")
    if measurement.outcome is Outcome.CANCELLED:
        raise BusyError(f"the test of the model was called off{detail}")
    if measurement.outcome is not Outcome.OK:
        raise ModelRefusedError(f"golden inputs: {measurement.outcome.value.replace('_', ' ')}{detail}")
    if measurement.numerics is None or not measurement.numerics.checked:
        raise ModelRefusedError("golden inputs: the outputs were not compared")
