"""Certificates renew by themselves: a new key, certified while the old one still counts, from half of its life on."""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol

from agent.concurrency import within
from agent.errors import AgentError, ConfigurationError
from agent.runtimes.environment import runtime_environment
from agent.state_directory import StateDirectory
from agent.wallet import Wallet, forget_renewed_key

_log = logging.getLogger(__name__)

_STEP_TIMEOUT_S = 120.0


class RenewalGateway(Protocol):
    """What a renewal needs of ``agent.gateway.Gateway``."""

    async def renew(self, signing_request: bytes) -> bytes:
        """The certificate for the key in the request, PEM.

        Raises:
            AgentError: The orchestrator cannot be reached, or refuses.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalSchedule:
    """When a certificate is renewed; shares of its life, and seconds."""

    from_fraction: float = 0.5
    # Devices that joined together do not renew together.
    jitter_fraction: float = 0.1
    # The clock may be set at any time, so it is looked at again and again.
    look_s: float = 600.0
    retry_s: float = 1800.0


class Renewal:
    """Keeps the certificate of a running agent young.

    Args:
        state: Where the keys lie; held by the caller.
        wallet: The identity, told of the renewed key.
        gateway: The way to the orchestrator.
        schedule: When it is time.
        now: The present.
    """

    def __init__(
        self,
        *,
        state: StateDirectory,
        wallet: Wallet,
        gateway: RenewalGateway,
        schedule: RenewalSchedule | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(tz=timezone.utc),
    ) -> None:
        self._state = state
        self._wallet = wallet
        self._gateway = gateway
        self._schedule = schedule or RenewalSchedule()
        self._now = now
        # Jitter is no secret.
        self._random = random.Random()  # noqa: S311
        self._fraction = self._schedule.from_fraction + self._random.uniform(0, self._schedule.jitter_fraction)

    async def run(self) -> None:
        """Renews when it is time, until it is cancelled; what fails is tried again later."""
        while True:
            wait_s = self._schedule.look_s
            if self.due():
                try:
                    await self._renew()
                except AgentError as error:
                    wait_s = self._random.uniform(0.5, 1.0) * self._schedule.retry_s
                    _log.warning("the certificate is not renewed yet: %s", error.message)
                    if isinstance(error, ConfigurationError):
                        self._start_over()
            await asyncio.sleep(wait_s)

    def due(self) -> bool:
        """Whether the certificate has had its share of life, and no renewed one waits for its first use."""
        identity = self._wallet.identity
        life = identity.certificate_expires_at - identity.certificate_issued_at
        return not self._wallet.holds_renewed and self._now() >= identity.certificate_issued_at + life * self._fraction

    async def _renew(self) -> None:
        request = await self._step("request")
        certificate = await self._gateway.renew(request)
        await self._step("accept", given=certificate)
        self._wallet.take_renewed()

    async def _step(self, name: str, *, given: bytes = b"") -> bytes:
        """What the worker printed.

        Raises:
            AgentError: It could not do its step.
        """
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agent.renewal_worker",
            str(self._state.root),
            name,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=runtime_environment(),
        )
        try:
            output, errors = await within(worker.communicate(given), timeout_s=_STEP_TIMEOUT_S)
        except asyncio.TimeoutError as error:
            raise AgentError("the process that handles keys does not end") from error
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
        if worker.returncode:
            said = errors.decode(errors="replace").strip().splitlines()
            raise AgentError(said[-1] if said else f"the process that handles keys ended with {worker.returncode}")
        return output

    def _start_over(self) -> None:
        """Another key next time: the orchestrator will not certify this one."""
        try:
            forget_renewed_key(self._state)
        except AgentError as error:
            _log.warning("%s", error.message)
