"""The stream, over real TLS, between an agent and an orchestrator that does what the test says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import grpc
import pytest

from agent.database import open_database
from agent.errors import BusyError
from agent.profiling.measurement import Outcome
from agent.session import Timing
from agent.state_directory import StateDirectory
from agent.status import read_status
from tests.agent.device import FakeProfiler, join_fleet, running_agent
from tests.fakes.fake_orchestrator import FakeOrchestrator

MODEL = b"model" * 50_000


def test_the_first_word_says_what_the_device_is_and_holds(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, FakeProfiler()):
                await orchestrator.until(lambda: orchestrator.sessions)
                hello = orchestrator.session.hello
                assert (hello.protocol_minimum, hello.protocol_maximum) == (1, 1)
                assert hello.facts.architecture == "x86_64"
                assert list(hello.job_ids) == []
                assert hello.boot_id
                assert not hello.HasField("active_release")

    asyncio.run(scenario())


def test_a_job_is_measured_once_and_its_result_is_forgotten_with_the_receipt(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL, golden=b"golden")
                await orchestrator.until(lambda: orchestrator.results)
                # A heartbeat without the job says that the receipt has arrived.
                await orchestrator.until(lambda: orchestrator.session.held == [])
            assert [result.job_id for result in orchestrator.results] == ["job-1"]
            assert [(artifact, golden) for _, artifact, golden in profiler.measured] == [(MODEL, b"golden")]

            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: len(orchestrator.sessions) == 2)
                assert list(orchestrator.session.hello.job_ids) == []

    asyncio.run(scenario())


def test_heartbeats_come_at_the_servers_interval_and_name_the_jobs(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            orchestrator.heartbeat_interval_s = 0.05
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                orchestrator.assign("job-2", MODEL + b"2")
                await orchestrator.until(lambda: orchestrator.session.held == ["job-1", "job-2"])

    asyncio.run(scenario())


def test_a_job_given_twice_is_done_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "warming up" in orchestrator.session.stages)
                orchestrator.assign("job-1", MODEL, attempt=2)
                orchestrator.assign("job-2", MODEL)
                await orchestrator.until(lambda: orchestrator.session.held == ["job-1", "job-2"])
                profiler.go.set()
                await orchestrator.until(lambda: len(orchestrator.results) == 2)
            assert [result.job_id for result in orchestrator.results] == ["job-1", "job-2"]
            assert len(profiler.measured) == 2

    asyncio.run(scenario())


def test_a_job_whose_result_waits_is_sent_again_instead_of_measured_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        async with FakeOrchestrator() as orchestrator:
            orchestrator.receipts = False
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: orchestrator.results)
                orchestrator.assign("job-1", MODEL, attempt=2)
                await orchestrator.until(lambda: len(orchestrator.results) == 2)
            first, second = orchestrator.results
            assert first == second
            assert len(profiler.measured) == 1

    asyncio.run(scenario())


def test_a_result_whose_receipt_was_lost_is_sent_once_more_on_the_next_stream(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            orchestrator.receipts = False
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, FakeProfiler()):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: orchestrator.results)
                orchestrator.receipts = True
                orchestrator.session.close()
                await orchestrator.until(lambda: len(orchestrator.sessions) == 2 and orchestrator.session.results)
                assert list(orchestrator.session.hello.job_ids) == ["job-1"]
                await orchestrator.until(lambda: orchestrator.session.held == [])
            first, second = orchestrator.results
            assert first == second

    asyncio.run(scenario())


def test_a_receipt_that_is_overdue_brings_the_result_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            orchestrator.receipts = False
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, FakeProfiler(), timing=Timing(receipt_s=0.1)):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: len(orchestrator.results) >= 3)
            assert len(orchestrator.sessions) == 1

    asyncio.run(scenario())


def test_a_damaged_message_is_dropped_and_the_others_arrive(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            orchestrator.receipts = False
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, FakeProfiler()):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                orchestrator.assign("job-2", MODEL)
                await orchestrator.until(lambda: len(orchestrator.results) == 2)
            with contextlib.closing(open_database(StateDirectory(tmp_path).database)) as connection:
                connection.execute("UPDATE outbox SET payload = ? WHERE subject = 'job-1'", (b"\xff\xff",))
            orchestrator.receipts = True
            async with running_agent(tmp_path, FakeProfiler()):
                await orchestrator.until(lambda: len(orchestrator.sessions) == 2 and orchestrator.session.held == [])
            assert [result.job_id for result in orchestrator.session.results] == ["job-2"]

    asyncio.run(scenario())


def test_a_cancelled_job_ends_its_worker_and_the_next_one_begins(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                for job_id in ("job-1", "job-2", "job-3"):
                    orchestrator.assign(job_id, MODEL)
                await orchestrator.until(lambda: "warming up" in orchestrator.session.stages)
                orchestrator.session.say(job_cancellation={"job_id": "job-1"})
                orchestrator.session.say(job_cancellation={"job_id": "job-2"})
                orchestrator.session.say(job_cancellation={"job_id": "never heard of"})
                await orchestrator.until(lambda: len(orchestrator.results) == 2)
                assert profiler.killed == 1
                profiler.go.set()
                await orchestrator.until(lambda: len(orchestrator.results) == 3)
            outcomes = {result.job_id: result.measurement.outcome for result in orchestrator.results}
            assert outcomes == {"job-1": 8, "job-2": 8, "job-3": 1}
            assert profiler.most_running == 1

    asyncio.run(scenario())


def test_progress_is_throttled_and_the_latest_is_what_arrives(tmp_path: Path) -> None:
    class Chatty(FakeProfiler):
        async def measure(self, request, **paths):  # type: ignore[no-untyped-def]
            for number in range(1000):
                paths["on_progress"](f"timing {number}")
                await asyncio.sleep(0)
            return await super().measure(request, **paths)

    async def scenario() -> None:
        profiler = Chatty()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler, timing=Timing(progress_s=0.25)):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "warming up" in orchestrator.session.stages)
            assert len(orchestrator.session.stages) < 20

    asyncio.run(scenario())


def test_a_server_that_restarts_is_found_again_and_the_job_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "warming up" in orchestrator.session.stages)
                await orchestrator.stop()
                await asyncio.sleep(0.3)
                await orchestrator.start()
                await orchestrator.until(lambda: len(orchestrator.sessions) == 2)
                assert list(orchestrator.session.hello.job_ids) == ["job-1"]
                profiler.go.set()
                await orchestrator.until(lambda: orchestrator.session.results)
            assert len(profiler.measured) == 1
            assert profiler.killed == 0

    asyncio.run(scenario())


def test_work_done_while_offline_is_delivered_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "warming up" in orchestrator.session.stages)
                await orchestrator.stop()
                profiler.go.set()
                while profiler.running:
                    await asyncio.sleep(0.01)
            # Offline when it ended, off when it was stopped, and delivered when it is on again.
            await orchestrator.start()
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.results)
            assert len(orchestrator.results) == 1
            assert len(profiler.measured) == 1

    asyncio.run(scenario())


def test_a_stopped_agent_kills_its_worker_and_does_the_job_again_after_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.go.clear()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "warming up" in orchestrator.session.stages)
            assert (profiler.running, profiler.killed) == (0, 1)
            assert orchestrator.results == []

            profiler.go.set()
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.results)
                assert list(orchestrator.session.hello.job_ids) == ["job-1"]
            assert len(orchestrator.results) == 1
            # The model was in the cache.
            assert len(orchestrator.fetches) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED])
def test_a_revoked_device_says_so_loudly_and_asks_seldom(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, code: grpc.StatusCode
) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            orchestrator.session_refusal = (code, "this device was removed")
            async with running_agent(tmp_path, FakeProfiler(), timing=Timing(refused_s=3600)):
                await orchestrator.until(lambda: orchestrator.sessions)
                while not (status := read_status(StateDirectory(tmp_path).status)) or not status.problem:
                    await asyncio.sleep(0.01)
                assert "this device was removed" in status.problem
                await asyncio.sleep(0.3)
            assert len(orchestrator.sessions) == 1

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert any("refuses this device" in record.message and "leave" in record.message for record in caplog.records)


def test_a_device_that_is_accepted_again_comes_back_by_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            orchestrator.session_refusal = (grpc.StatusCode.UNAUTHENTICATED, "removed")
            async with running_agent(tmp_path, FakeProfiler()):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.session_refusal = None
                await orchestrator.until(lambda: len(orchestrator.sessions) >= 2 and orchestrator.session.heartbeats)

    asyncio.run(scenario())


def test_an_orchestrator_of_another_protocol_is_refused_loudly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            orchestrator.protocol_version = 2
            async with running_agent(tmp_path, FakeProfiler(), timing=Timing(refused_s=3600)):
                await orchestrator.until(lambda: orchestrator.sessions and not orchestrator.session.open)
            assert orchestrator.session.received == []

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert "speaks protocol version 2" in caplog.text


def test_an_artifact_with_wrong_bytes_is_reported_and_never_measured(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                sha256 = orchestrator.store(MODEL)
                orchestrator.artifacts[sha256] = MODEL[:-1] + b"X"
                store, orchestrator.store = orchestrator.store, lambda data: sha256  # type: ignore[method-assign]
                orchestrator.assign("job-1", MODEL)
                orchestrator.store = store  # type: ignore[method-assign]
                await orchestrator.until(lambda: orchestrator.results)
            measurement = orchestrator.results[0].measurement
            assert measurement.outcome == 9
            assert "another hash" in measurement.detail
            assert measurement.artifact_sha256 == sha256
            assert profiler.measured == []

    asyncio.run(scenario())


def test_a_download_that_is_cut_again_and_again_goes_on_where_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            orchestrator.cuts_bytes = [100_000, 1, 0, 70_000]
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: orchestrator.results)
            assert [offset for _, offset in orchestrator.fetches] == [0, 100_000, 100_001, 100_001, 170_001]
            assert [artifact for _, artifact, _ in profiler.measured] == [MODEL]

    asyncio.run(scenario())


def test_a_job_that_does_not_fit_is_given_back_with_the_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler, cache_quota_bytes=1000):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: orchestrator.results)
            measurement = orchestrator.results[0].measurement
            assert measurement.outcome == 8
            assert "250000" in measurement.detail
            assert "1000" in measurement.detail
            assert orchestrator.fetches == []

    asyncio.run(scenario())


def test_a_fault_of_the_profiler_is_reported_and_the_agent_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.error = ZeroDivisionError("by design")
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: orchestrator.results)
                profiler.error = None
                orchestrator.assign("job-2", MODEL)
                await orchestrator.until(lambda: len(orchestrator.results) == 2)
            first, second = orchestrator.results
            assert "ZeroDivisionError: by design" in first.measurement.detail
            assert second.measurement.outcome == 1

    asyncio.run(scenario())
    assert "Traceback" in caplog.text


def test_a_busy_device_measures_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.jobs._BUSY_RETRY_S", 0.01)

    async def scenario() -> None:
        profiler = FakeProfiler()
        profiler.error = BusyError("training runs here")
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "waiting: training runs here" in orchestrator.session.stages)
                profiler.error = None
                await orchestrator.until(lambda: orchestrator.results)
            assert orchestrator.results[0].measurement.outcome == 1

    asyncio.run(scenario())


def test_work_of_an_unknown_kind_is_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, FakeProfiler()):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.session.say(job_assignment={"job_id": "job-1", "attempt": 1})
                # Neither a message without a body nor a second welcome ends the stream.
                orchestrator.session.say()
                orchestrator.session.say(welcome={"protocol_version": 1})
                await orchestrator.until(lambda: orchestrator.results)
                await orchestrator.until(lambda: orchestrator.session.heartbeats)
            assert len(orchestrator.sessions) == 1
            assert orchestrator.results[0].measurement.outcome == 5

    asyncio.run(scenario())


def test_every_outcome_reaches_the_orchestrator(tmp_path: Path) -> None:
    async def scenario() -> None:
        profiler = FakeProfiler()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path)
            async with running_agent(tmp_path, profiler):
                await orchestrator.until(lambda: orchestrator.sessions)
                for number, outcome in enumerate(Outcome, start=1):
                    profiler.outcome = outcome
                    orchestrator.assign(f"job-{number}", MODEL)
                    await orchestrator.until(lambda number=number: len(orchestrator.results) == number)
            assert [result.measurement.outcome for result in orchestrator.results] == list(range(1, len(Outcome) + 1))

    asyncio.run(scenario())
