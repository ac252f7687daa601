"""A small fleet, a database and a controller for one test, in the world of ``tests.fakes.small_world``."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator.clock import utc_now
from orchestrator.events import Events
from orchestrator.fleet.device import Device, DeviceFacts, RuntimeFacts
from orchestrator.search.controller import SearchController
from orchestrator.search.search import Search
from orchestrator.search.spec import parse_search_spec
from orchestrator.search.trial import Trial
from orchestrator.storage.database import Database
from orchestrator.storage.folder_blob_store import FolderBlobStore
from tests.fakes.small_world import BASELINE, Facts, FakeEngine, FakeMeasuring, World

NOW = datetime.fromisoformat("2026-11-24T12:00:00+00:00")
WORKLOAD = b"class Digits: ...\n"


class Clock:
    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self.offset


def a_device(name: str, *, board: str = "Raspberry Pi 5") -> Device:
    runtimes = (RuntimeFacts(name="onnxruntime", version="1.32.0", formats=("onnx",)),)
    return Device(
        id=f"id-of-{name}",
        name=name,
        facts=DeviceFacts(hostname=name, architecture="aarch64", board=board, runtimes=runtimes),
        key_fingerprint=f"key-of-{name}",
        certificate_expires_at=NOW + timedelta(days=30),
        enrolled_at=NOW,
    )


def pruned(amount: float) -> dict[str, Any]:
    return {"passes": [{"pass": "structured_prune", "amount": amount}]}


def world(**facts: Facts) -> World:
    """A world with the baseline, and ``prune_50=…`` for ``structured_prune 0.5``."""
    table = {f"structured_prune {int(name.removeprefix('prune_')) / 100:g}": value for name, value in facts.items()}
    return World(facts={"baseline": BASELINE, **table})


@dataclass
class Scene:
    """Everything around one controller. What is written survives ``restart``, as it survives the end of a process."""

    folder: Path
    world: World
    devices: Sequence[Device] = (a_device("pi"),)
    slots: int = 2

    def __post_init__(self) -> None:
        self.database = Database.open(f"sqlite:///{self.folder / 'fleetfit.db'}")
        self.blobs = FolderBlobStore(self.folder / "blobs")
        self.events = Events()
        self.clock = Clock()
        self.engine = FakeEngine(self.world, slots=self.slots)
        self.measuring = FakeMeasuring(self.world, self.database)
        self.controller = self.new_controller()

    async def __aenter__(self) -> Scene:
        for device in self.devices:
            await self.database.run(lambda tx, device=device: tx.devices.add(device))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.controller.close()
        self.database.close()

    def new_controller(self) -> SearchController:
        return SearchController(
            database=self.database,
            blobs=self.blobs,
            events=self.events,
            engine=self.engine,
            measuring=self.measuring,
            clock=self.clock,
        )

    async def restart(self) -> None:
        """Ends the controller without a word, and starts another on what is written."""
        await self.controller.close()
        self.controller = self.new_controller()
        await self.controller.start()

    async def create(self, *, budgets: Mapping[str, str], key: str = "", **spec: Any) -> Search:
        amounts = sorted(float(title.split()[1]) for title in self.world.facts if title != "baseline")
        data = {
            "name": "digits",
            "devices": [device.name for device in self.devices],
            "budgets": dict(budgets),
            "recipes": [pruned(amount) for amount in amounts],
            **spec,
        }
        return await self.controller.create(
            spec=parse_search_spec(data),
            device_ids=[device.id for device in self.devices],
            workload_filename="digits.py",
            workload_source=WORKLOAD,
            idempotency_key=key,
        )

    async def finished(self, search: Search, *, timeout_s: float = 30.0) -> Search:
        with self.events.subscribe(f"search/{search.id}") as subscription:
            deadline = asyncio.get_running_loop().time() + timeout_s
            while True:
                now = await self.search(search)
                if now.state.final:
                    return now
                assert asyncio.get_running_loop().time() < deadline, (
                    f"the search goes on and on: {await self.told(search)}"
                )
                await subscription.wait(0.5)

    async def run(self, *, budgets: Mapping[str, str], **spec: Any) -> Search:
        return await self.finished(await self.create(budgets=budgets, **spec))

    async def search(self, search: Search) -> Search:
        return await self.database.run(lambda tx: tx.searches.get(search.id))

    async def trials(self, search: Search) -> dict[str, Trial]:
        trials = await self.database.run(lambda tx: tx.trials.list(search.id))
        return {trial.title: trial for trial in trials}

    async def told(self, search: Search) -> str:
        return "; ".join(
            f"{t.title}: {t.state.value} {t.progress} {t.reason}" for t in (await self.trials(search)).values()
        )


def migrated_copy(template: Path, folder: Path) -> None:
    """Puts a database into the folder that needs no migration any more, which would take longer than most tests."""
    shutil.copy(template, folder / "fleetfit.db")
