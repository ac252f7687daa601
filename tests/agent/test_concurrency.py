from __future__ import annotations

import asyncio

import pytest

from agent.concurrency import run_until_first_ends, within


async def value() -> int:
    await asyncio.sleep(0)
    return 7


async def failure() -> None:
    await asyncio.sleep(0)
    raise LookupError("by design")


def test_work_that_ends_in_time_is_what_it_returns_or_raises() -> None:
    assert asyncio.run(within(value(), timeout_s=10)) == 7
    assert asyncio.run(within(value(), timeout_s=None)) == 7
    with pytest.raises(LookupError):
        asyncio.run(within(failure(), timeout_s=10))


def test_work_that_is_late_is_ended_before_the_timeout_is_raised() -> None:
    ended = False

    async def late() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended = True

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(within(late(), timeout_s=0.01))
    assert ended


def test_a_cancellation_in_the_moment_in_which_the_work_ends_is_not_lost() -> None:
    async def scenario() -> bool:
        event = asyncio.Event()
        waiting = asyncio.create_task(within(event.wait(), timeout_s=60))
        await asyncio.sleep(0.01)
        event.set()
        # The inner task ends in the next round of the loop, in which the outer one is cancelled.
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        return waiting.cancelled()

    assert asyncio.run(scenario())


def test_the_first_end_ends_the_others_and_is_told() -> None:
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    with pytest.raises(LookupError):
        asyncio.run(run_until_first_ends(endless("a"), failure(), endless("b")))
    assert sorted(ended) == ["a", "b"]


def test_a_cancellation_ends_them_all() -> None:
    ended: list[str] = []

    async def endless(name: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    async def scenario() -> None:
        together = asyncio.create_task(run_until_first_ends(endless("a"), endless("b")))
        await asyncio.sleep(0.01)
        together.cancel()
        await asyncio.wait({together})
        assert together.cancelled()
        assert sorted(ended) == ["a", "b"]

    asyncio.run(scenario())
