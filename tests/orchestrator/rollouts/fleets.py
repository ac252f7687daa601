"""A rollout controller on a real database, and devices that say what a test wants."""

import asyncio
import hashlib
from collections import Counter
from dataclasses import replace
from datetime import timedelta

from orchestrator.events import Events
from orchestrator.fleet.device import ActiveRelease, Device, DeviceFacts
from orchestrator.releases.release import Release
from orchestrator.rollouts.controller import RolloutController
from orchestrator.rollouts.operations import RolloutOperations
from orchestrator.rollouts.plan import Plan
from orchestrator.rollouts.rollout import DeploymentState
from orchestrator.storage.database import Database
from tests.fakes.release_server import NOON, Clock


class RecordedEvents(Events):
    def __init__(self):
        super().__init__()
        self.published = []

    def publish(self, topic):
        self.published.append(topic)
        super().publish(topic)


class Fleet:
    """A controller on a real database, and devices that say what a test wants."""

    def __init__(self, folder, device_count=3):
        self.clock = Clock()
        self.events = RecordedEvents()
        self.database = Database.open(f"sqlite:///{folder / 'fleetfit.db'}")
        self.controller = RolloutController(database=self.database, events=self.events, clock=self.clock)
        self.operations = RolloutOperations(
            database=self.database,
            events=self.events,
            controller=self.controller,
            republish=self.republish,
            clock=self.clock,
        )
        self.devices = [self.device(number) for number in range(device_count)]
        self.reports = 0

    def run(self, work):
        return asyncio.run(work)

    def read(self, work):
        return asyncio.run(self.database.run(work))

    def device(self, number, labels=None):
        device = Device(
            id=f"device-{number}",
            name=f"pi-{number}",
            facts=DeviceFacts(hostname="pi", architecture="aarch64"),
            key_fingerprint=f"key-{number}",
            certificate_expires_at=NOON + timedelta(days=30),
            enrolled_at=NOON,
            labels=labels or {},
            last_seen_at=self.clock(),
        )
        self.read(lambda tx: tx.devices.add(device))
        return device

    def a_release(self, version, artifact_sha256=None):
        return Release(
            id=f"release-{version}",
            name="digits",
            version=version,
            counter=int(version),
            manifest_path=f"digits/{version}.json",
            manifest_sha256=hashlib.sha256(version.encode()).hexdigest(),
            manifest_json="{}",
            artifact_sha256=artifact_sha256 or hashlib.sha256(f"model {version}".encode()).hexdigest(),
            artifact_size_bytes=1000,
            artifact_format="onnx",
            search_id="search",
            trial_id="trial",
            created_at=NOON,
        )

    def release(self, version="1"):
        release = self.a_release(version)
        self.read(lambda tx: tx.releases.add(release))
        return release

    def create(self, release, *, devices=None, selector="all", key="", **plan):
        chosen = self.devices if devices is None else devices
        return self.run(
            self.controller.create(
                release=release, devices=chosen, selector=selector, idempotency_key=key, plan=Plan(**plan)
            )
        )

    def desired(self, device):
        return self.run(self.controller.desired(device.id))

    def report(self, device, deployment, state, *, report_id=None, reason="", active=None):
        self.reports += 1
        self.run(
            self.controller.report(
                device_id=device.id,
                report_id=report_id or f"report-{self.reports}",
                deployment_id=deployment.id,
                state=state,
                reason=reason,
                active_release=active,
                reported_at=self.clock(),
            )
        )

    def activate(self, device, deployment, release):
        self.report(device, deployment, DeploymentState.ACTIVE, active=serving(release))

    def remove(self, device):
        def work(tx):
            self.controller.forget(tx, device)
            tx.devices.remove(device.id)

        self.read(work)

    async def republish(self, release):
        """What the publisher does, without signatures."""
        newest = await self.database.run(lambda tx: tx.releases.latest(release.name))
        again = self.a_release(str(newest.counter + 1), artifact_sha256=release.artifact_sha256)
        await self.database.run(lambda tx: tx.releases.add(again))
        return again

    def hear_all(self, *, but=()):
        """All devices but some are heard of now."""
        away = {device.id for device in but}

        def work(tx):
            for device in tx.devices.list():
                if device.id not in away:
                    tx.devices.update(replace(device, last_seen_at=self.clock()))

        self.read(work)

    def look(self):
        self.run(self.controller.look())

    def begun(self, rollout):
        """Ids of the devices whose turn has come."""
        return {each.device_id for each in self.deployments(rollout).values() if each.started_at is not None}

    def end(self, rollout, state, *, count, reason=""):
        """Has ``count`` of the devices whose turn has come end so; the devices."""
        release = self.read(lambda tx: tx.releases.get(rollout.release_id))
        deployments = self.deployments(rollout)
        waiting = [each for each in self.devices if self.is_open(deployments.get(each.id))][:count]
        assert len(waiting) == count
        for device in waiting:
            active = serving(release) if state is DeploymentState.ACTIVE else None
            self.report(device, deployments[device.id], state, reason=reason, active=active)
        return waiting

    @staticmethod
    def is_open(deployment):
        return deployment is not None and deployment.started_at is not None and not deployment.state.final

    def counts(self, rollout):
        return Counter(each.state for each in self.deployments(rollout).values())

    def rollout(self, rollout):
        return self.read(lambda tx: tx.rollouts.get(rollout.id))

    def deployments(self, rollout):
        """The deployments of a rollout by device."""
        return {found.device_id: found for found in self.read(lambda tx: tx.deployments.list(rollout.id))}


def serving(release):
    return ActiveRelease(manifest_sha256=release.manifest_sha256, name=release.name, version=release.version)
