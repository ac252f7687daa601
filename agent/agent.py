"""A device that serves its fleet: the session, the jobs and the updates, on one state directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Protocol

from agent.artifacts import ArtifactStore
from agent.backoff import Backoff
from agent.concurrency import run_until_first_ends
from agent.config import Settings
from agent.convert import encode
from agent.database import open_database
from agent.facts import DeviceFacts, read_boot_id
from agent.gateway import Gateway
from agent.job_store import JobStore
from agent.jobs import JobRunner, MeasuringProfiler
from agent.outbox import MessageKind, Outbox, WaitingMessage
from agent.renewal import Renewal, RenewalSchedule
from agent.session import Session, Timing
from agent.state_directory import StateDirectory
from agent.status import AgentStatus, StatusFile
from agent.update.interfaces import Checker
from agent.update.release import DeploymentReport
from agent.update.updater import Updater
from agent.wallet import Wallet

_log = logging.getLogger(__name__)

_EXPIRY_WARNING = timedelta(days=7)


class DeviceProfiler(MeasuringProfiler, Checker, Protocol):
    """What measures, and what checks a release before it is served: one thing, because the device is one."""


class Agent:
    """A device that has joined, on its state directory, which the caller holds.

    Args:
        state: Where everything lies.
        settings: How to run.
        profiler: What measures and checks.
        facts: What the device says of itself.
        make_backoff: Makes the waits between tries to connect, and to fetch.
        timing: How patient the session is.
        renewal: When the certificate is renewed.
        now: The present, for the certificate.

    Raises:
        NotJoinedError: There is no identity.
        ConfigurationError: The identity or the state directory cannot be read.
    """

    def __init__(
        self,
        *,
        state: StateDirectory,
        settings: Settings,
        profiler: DeviceProfiler,
        facts: DeviceFacts,
        make_backoff: Callable[[], Backoff] = Backoff,
        timing: Timing | None = None,
        renewal: RenewalSchedule | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(tz=timezone.utc),
    ) -> None:
        self._now = now
        self._wallet = Wallet(state)
        self._database = open_database(state.database)
        self._status = StatusFile(state.status, AgentStatus(process_id=os.getpid(), started_at=_now_text()))
        self._outbox = Outbox(self._database)
        gateway = Gateway(address=self._wallet.identity.device_address, wallet=self._wallet)
        artifacts = ArtifactStore(state.stage, gateway, quota_bytes=settings.cache_quota_bytes)
        self._jobs = JobRunner(
            store=JobStore(self._database),
            outbox=self._outbox,
            artifacts=artifacts,
            profiler=profiler,
            on_activity=lambda activity: self._status.update(activity=activity),
            backoff=make_backoff(),
        )
        self._updater = Updater(
            state_dir=state.root,
            delivery=gateway,
            artifacts=artifacts,
            profiler=profiler,
            facts=facts,
            report=self._report,
        )
        self._session = Session(
            gateway=gateway,
            facts=facts,
            boot_id=read_boot_id(),
            jobs=self._jobs,
            outbox=self._outbox,
            updater=self._updater,
            observer=self,
            backoff=make_backoff(),
            timing=timing,
        )
        self._renewal = Renewal(state=state, wallet=self._wallet, gateway=gateway, schedule=renewal, now=now)

    async def run(self) -> None:
        """Serves the fleet until it is cancelled; no child process outlives it."""
        self._warn_of_expiry()
        try:
            await self._updater.resume()
            await run_until_first_ends(self._session.run(), self._jobs.run(), self._renewal.run())
        finally:
            await self._updater.close()
            self._database.close()
            self._status.remove()

    def connected(self, session_epoch: int) -> None:
        """Notes that the orchestrator has welcomed this device."""
        self._status.update(connected=True, since=_now_text(), session_epoch=session_epoch, problem="")

    def disconnected(self, problem: str) -> None:
        """Notes that there is no stream any more."""
        self._status.update(connected=False, since=_now_text(), problem=problem)
        self._warn_of_expiry()

    def _report(self, report: DeploymentReport) -> None:
        self._outbox.put(
            WaitingMessage(
                id=report.report_id,
                kind=MessageKind.DEPLOYMENT_REPORT,
                subject=report.deployment_id,
                payload=encode(report),
            )
        )

    def _warn_of_expiry(self) -> None:
        expires_at = self._wallet.identity.certificate_expires_at
        left = expires_at - self._now()
        if left <= timedelta(0):
            _log.error(
                "this device's certificate expired on %s: run 'fleetfit-agent leave' and join again",
                f"{expires_at:%Y-%m-%d}",
            )
        elif left <= _EXPIRY_WARNING:
            _log.warning("this device's certificate expires on %s", f"{expires_at:%Y-%m-%d}")


def _now_text() -> str:
    return datetime.now(tz=timezone.utc).isoformat(timespec="seconds")
