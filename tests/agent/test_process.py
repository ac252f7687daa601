"""The agent as a process: killed, stopped, joined from the command line, and weighed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.runtimes.probe_models import PROBE_MODELS
from tests.agent.device import join_fleet
from tests.fakes.fake_orchestrator import FakeAuthority, FakeOrchestrator

REPOSITORY = Path(__file__).parents[2]
AGENT = (sys.executable, "-m", "agent")
SLOW_AGENT = (sys.executable, "-m", "tests.agent.slow_agent")
MODEL = b"model" * 20_000
FOOTPRINT_LIMIT_KIB = 50 * 1024


@contextlib.asynccontextmanager
async def process(*command: str | Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is gone at the end of the block."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("FLEETFIT_", "XDG_"))}
    started = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=REPOSITORY,
        env={**own, **environment},
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def run(*arguments: str | Path, given: str = "", **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of an agent's command."""
    async with process(*AGENT, *arguments, **environment) as command:
        output, errors = await command.communicate(given.encode())
        assert command.returncode is not None
        return command.returncode, output.decode(), errors.decode()


def descendants(process_id: int) -> list[int]:
    found = []
    for children in Path(f"/proc/{process_id}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_kill_9_in_the_midst_of_jobs_loses_and_repeats_no_result(tmp_path: Path) -> None:
    """An agent is killed at random moments while jobs come, run and end: each result is stored exactly once."""
    random_source = random.Random(11)  # noqa: S311
    jobs = [f"job-{number}" for number in range(12)]

    async def scenario() -> None:
        (tmp_path / "go").touch()
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path / "state")
            stored: dict[str, set[str]] = {}
            while len(stored) < len(jobs):
                seen = len(orchestrator.sessions)
                async with process(*SLOW_AGENT, tmp_path / "state"):
                    await orchestrator.until(lambda seen=seen: len(orchestrator.sessions) > seen)
                    for job_id in jobs:
                        # What a device does not hold, and has not finished, is leased to it (again).
                        if job_id not in stored and job_id not in orchestrator.session.hello.job_ids:
                            orchestrator.assign(job_id, MODEL + job_id.encode())
                    await asyncio.sleep(random_source.uniform(0, 0.15))
                    # The end of the block is a SIGKILL.
                for result in orchestrator.results:
                    stored.setdefault(result.job_id, set()).add(result.measurement.result_id)
            assert set(stored) == set(jobs)
            # A result may come twice, but it is the same one: the orchestrator stores it once.
            assert all(len(result_ids) == 1 for result_ids in stored.values())

    asyncio.run(scenario())


def test_kill_9_in_mid_measurement_leaves_a_job_that_the_next_process_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path / "state")
            async with process(*SLOW_AGENT, tmp_path / "state"):
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", MODEL)
                await orchestrator.until(lambda: "measuring" in orchestrator.session.stages)
            assert orchestrator.results == []

            (tmp_path / "go").touch()
            async with process(*SLOW_AGENT, tmp_path / "state"):
                await orchestrator.until(lambda: orchestrator.results)
                assert list(orchestrator.session.hello.job_ids) == ["job-1"]
                await orchestrator.until(lambda: orchestrator.session.held == [])
            assert len(orchestrator.results) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_real_agent_stops_in_mid_measurement_and_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            await join_fleet(orchestrator, tmp_path / "state")
            lock = {"FLEETFIT_HOST_LOCK_DIR": str(tmp_path)}
            async with process(*AGENT, "run", "--state-dir", tmp_path / "state", **lock) as agent:
                await orchestrator.until(lambda: orchestrator.sessions)
                orchestrator.assign("job-1", PROBE_MODELS["onnx"], minimum_duration_s=30)
                await orchestrator.until(
                    lambda: any(stage.startswith(("warming", "timing")) for stage in orchestrator.session.stages)
                )
                workers = descendants(agent.pid)
                assert workers
                # As a Ctrl-C that reaches the group, and that the parent then passes on.
                agent.send_signal(number)
                agent.terminate()
                output, errors = await agent.communicate()
                assert (agent.returncode, output) == (0, b"")
                assert b"Traceback" not in errors
                assert not [worker for worker in workers if Path(f"/proc/{worker}/exe").exists()]
            assert orchestrator.results == []
            assert not (tmp_path / "state" / "status.json").exists()

    asyncio.run(scenario())


def test_joining_from_the_command_line_goes_on_running_without_token_and_weight(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            state = tmp_path / "state"
            async with process(
                *AGENT, "join", orchestrator.address, "--token", "good-token",
                "--ca-hash", orchestrator.authority.ca_hash, "--name", "kitchen", "--state-dir", state,
            ) as agent:  # fmt: skip
                await orchestrator.until(lambda: orchestrator.session.heartbeats if orchestrator.sessions else None)
                proc = Path(f"/proc/{agent.pid}")
                assert "good-token" not in (proc / "cmdline").read_text()
                loaded = (proc / "maps").read_text()
                heavy = [name for name in ("numpy", "torch", "/ray/", "onnxruntime", "cryptography") if name in loaded]
                assert heavy == []
                resident = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
                assert resident is not None
                assert int(resident[1]) <= FOOTPRINT_LIMIT_KIB

                code, output, _ = await run("status", "--json", "--state-dir", state)
                report = json.loads(output)
                assert (code, report["running"], report["agent"]["connected"]) == (0, True, True)
                assert (report["name"], report["agent"]["process_id"]) == ("kitchen", agent.pid)

                code, output, errors = await run("run", "--state-dir", state)
                assert (code, output) == (7, "")
                assert errors.startswith("error: another agent")

                code, _, errors = await run("leave", "--state-dir", state)
                assert code == 7

                agent.terminate()
                output_bytes, errors_bytes = await agent.communicate()
                assert agent.returncode == 0
                assert output_bytes.decode() == "joined as 'kitchen'\n"
                assert "good-token" not in errors_bytes.decode()

            code, output, _ = await run("leave", "--state-dir", state)
            assert (code, output) == (0, "left the fleet; its key and certificate are gone\n")
            assert not (state / "identity" / "key.pem").exists()
            code, _, errors = await run("status", "--state-dir", state)
            assert code == 5
            assert "error: this device has not joined a fleet" in errors

    asyncio.run(scenario())


@pytest.mark.parametrize("way", ["input", "variable"])
def test_the_token_may_come_another_way_than_on_the_command_line(tmp_path: Path, way: str) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            options = ("--ca-hash", orchestrator.authority.ca_hash, "--state-dir", tmp_path, "--no-run")
            if way == "input":
                code, output, errors = await run(
                    "join", orchestrator.address, "--token", "-", *options, given="good-token\n"
                )
            else:
                code, output, errors = await run(
                    "join", orchestrator.address, *options, FLEETFIT_JOIN_TOKEN="good-token"
                )
            assert (code, output, errors) == (0, "joined as 'unnamed'\n", "Next: fleetfit-agent run\n")
            assert orchestrator.sessions == []

    asyncio.run(scenario())


def test_errors_of_joining_are_one_line_and_a_hint(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with FakeOrchestrator() as orchestrator:
            right, wrong = orchestrator.authority.ca_hash, FakeAuthority().ca_hash
            cases = [
                (orchestrator.address, "good-token", wrong, 5, "not the announced"),
                (orchestrator.address, "bad-token", right, 5, "unknown or used up"),
                (orchestrator.address, "good-token", "sha256:abc", 2, "is not a hash"),
                (orchestrator.address, "", right, 2, "no join token"),
                ("127.0.0.1:1", "good-token", right, 6, "cannot be reached"),
                ("no.such.host.invalid", "good-token", right, 6, "cannot be reached"),
                ("http://x", "good-token", right, 2, "is not an address"),
            ]
            answers = await asyncio.gather(
                *(
                    run("join", address, "--token", token, "--ca-hash", ca_hash, "--state-dir", tmp_path / str(number))
                    for number, (address, token, ca_hash, *_) in enumerate(cases)
                )
            )
            for (*_, code, words), (returned, output, errors) in zip(cases, answers, strict=True):
                assert (returned, output) == (code, ""), errors
                lines = errors.splitlines()
                assert len(lines) == 2, errors
                assert lines[0].startswith("error: ")
                assert words in lines[0]
                assert lines[1].startswith("hint: ")
            assert [request.join_token for request in orchestrator.enrolments] == ["bad-token"]

    asyncio.run(scenario())
