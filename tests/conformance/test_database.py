"""What transactions guarantee on every database."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from orchestrator.errors import ConflictError, NotFoundError, UnauthenticatedError
from orchestrator.fleet.device import Device
from orchestrator.fleet.job import JobState
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage.records import (
    NOW,
    a_device,
    a_job,
    a_join_token,
    a_measurement,
    a_search,
    a_trial,
)

T = TypeVar("T")


def test_what_a_transaction_wrote_is_there_for_the_next(database: Database) -> None:
    device = a_device()
    database.run_blocking(lambda tx: tx.devices.add(device))
    assert database.run_blocking(lambda tx: tx.devices.get(device.id)) == device


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    device = a_device()

    def work(tx: Transaction) -> None:
        tx.devices.add(device)
        raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        database.run_blocking(work)
    assert device.name not in database.run_blocking(lambda tx: tx.devices.names())


def test_asyncio_callers_get_the_result_and_the_error(database: Database) -> None:
    device = a_device()

    async def scenario() -> Device:
        await database.run(lambda tx: tx.devices.add(device))
        with pytest.raises(NotFoundError):
            await database.run(lambda tx: tx.devices.get("nobody"))
        return await database.run(lambda tx: tx.devices.get(device.id))

    assert asyncio.run(scenario()) == device


def test_many_asyncio_callers_at_once_are_all_served(database: Database) -> None:
    devices = [a_device() for _ in range(20)]

    async def add(device: Device) -> None:
        await database.run(lambda tx: tx.devices.add(device))

    async def scenario() -> None:
        await asyncio.gather(*map(add, devices))

    asyncio.run(scenario())
    assert {device.name for device in devices} <= database.run_blocking(lambda tx: tx.devices.names())


def test_a_transaction_inside_another_is_refused(database: Database) -> None:
    with pytest.raises(RuntimeError, match="inside another"):
        database.run_blocking(lambda _: database.run_blocking(lambda tx: tx.devices.list()))
    database.run_blocking(lambda tx: tx.devices.list())


def test_a_transaction_goes_on_after_a_refused_row(database: Database) -> None:
    device, other = a_device(), a_device()
    database.run_blocking(lambda tx: tx.devices.add(device))

    def work(tx: Transaction) -> None:
        with pytest.raises(ConflictError):
            tx.devices.add(device)
        with pytest.raises(NotFoundError):
            tx.trials.add(a_trial(a_search()))
        tx.devices.add(other)

    database.run_blocking(work)
    assert database.run_blocking(lambda tx: tx.devices.get(other.id)) == other


def test_writers_in_many_threads_lose_no_update(database: Database) -> None:
    token = a_join_token(maximum_uses=10_000)
    database.run_blocking(lambda tx: tx.join_tokens.add(token))

    def count(tx: Transaction) -> None:
        stored = tx.join_tokens.get(token.id)
        tx.join_tokens.update(replace(stored, uses=stored.uses + 1))

    def count_often(_: int) -> None:
        for _ in range(15):
            database.run_blocking(count)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count_often, range(4)))
    assert database.run_blocking(lambda tx: tx.join_tokens.get(token.id)).uses == 60


# Races: all begin at the same moment, and as many win as may.


def race(database: Database, works: list[Callable[[Transaction], Any]]) -> list[Any]:
    """What came of each: its result, or the refusal."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[Transaction], Any]) -> Any:
        barrier.wait()
        try:
            return database.run_blocking(work)
        except (ConflictError, UnauthenticatedError) as error:
            return error.reason

    with ThreadPoolExecutor(len(works)) as threads:
        return list(threads.map(run, works))


def test_one_of_many_moves_of_a_job_wins(database: Database) -> None:
    job = a_job()
    database.run_blocking(lambda tx: tx.jobs.add(job))
    moves = [replace(job, state=JobState.LEASED, progress=str(number)) for number in range(8)]
    outcomes = race(database, [lambda tx, move=move: tx.jobs.update(move, expecting=JobState.QUEUED) for move in moves])
    assert sorted(outcomes, key=str) == [None] + ["STALE"] * 7
    stored = database.run_blocking(lambda tx: tx.jobs.get(job.id))
    assert stored == moves[outcomes.index(None)]


def test_a_token_is_used_as_often_as_it_may_and_no_more(database: Database) -> None:
    token = a_join_token(maximum_uses=3)
    database.run_blocking(lambda tx: tx.join_tokens.add(token))
    outcomes = race(database, [lambda tx: tx.join_tokens.use(token.id, NOW)] * 8)
    assert outcomes.count("TOKEN_USED") == 5
    assert {outcome.uses for outcome in outcomes if outcome != "TOKEN_USED"} == {1, 2, 3}


def test_sessions_that_begin_at_once_get_different_epochs(database: Database) -> None:
    device = a_device()
    database.run_blocking(lambda tx: tx.devices.add(device))
    epochs = race(database, [lambda tx: tx.devices.begin_session(device.id, NOW)] * 8)
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_result_that_arrives_many_times_at_once_is_new_once(database: Database) -> None:
    measurement = a_measurement()
    outcomes = race(database, [lambda tx: tx.measurements.add_once(measurement)] * 8)
    assert sorted(outcomes) == [False] * 7 + [True]
