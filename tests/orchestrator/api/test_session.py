"""The devices' stream, over real sockets: jobs, leases, results, fences, and how streams end."""

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest
from fleetfit.v1 import device_facts_pb2, devices_pb2, devices_pb2_grpc, measurement_pb2, session_pb2

from orchestrator.errors import OperationError
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.lease import LEASE, MAXIMUM_ATTEMPTS
from orchestrator.fleet.measurement import Outcome
from tests.fakes.scripted_device import DeviceSide, ScriptedDevice, measured, reason_of
from tests.orchestrator.api.conftest import LiveServer


async def _job(server: LiveServer, job_id: str) -> Job:
    return await server.orchestrator.database.run(lambda tx: tx.jobs.get(job_id))


async def _said_hello(device: ScriptedDevice, channel: grpc.aio.Channel, **hello: object) -> DeviceSide:
    side = DeviceSide(channel)
    await side.say(hello=session_pb2.Hello(**hello))
    return side


@contextlib.contextmanager
def _later(server: LiveServer, ahead: timedelta) -> Iterator[None]:
    server.clock.ahead += ahead
    try:
        yield
    finally:
        server.clock.ahead -= ahead


def test_a_device_is_welcomed_and_seen_online(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("welcome")
        assert not server.orchestrator.sessions.online(device.id)
        async with device.connect() as first:
            assert (first.welcome.protocol_version, first.welcome.session_epoch) == (1, 1)
            assert first.welcome.device_name == "welcome"
            assert first.welcome.heartbeat_interval.ToTimedelta() * 3 < LEASE
            assert server.orchestrator.sessions.online(device.id)
        await server.soon(lambda: not server.orchestrator.sessions.online(device.id))
        async with device.connect() as second:
            assert second.welcome.session_epoch == 2

    server.run(scenario())


def test_a_measurement_goes_to_the_device_and_its_result_back(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device, sha256="ab" * 32)
        async with device.connect() as side:
            assignment = await side.assignment()
            assert assignment.attempt == 1
            assert assignment.lease.ToTimedelta() == LEASE
            assert assignment.measure.artifact.sha256 == "ab" * 32
            await side.result(assignment.job_id, measured("ab" * 32, result_id="r-1"))
            assert (await side.hear("job_result_receipt")).job_result_receipt.result_id == "r-1"
        measurement = await waiting
        assert measurement.latency is not None
        assert measurement.latency.p95_ms is not None
        assert (measurement.result_id, measurement.device_id, measurement.outcome) == ("r-1", device.id, Outcome.OK)
        assert measurement.latency.p95_ms.value == 4.2

    server.run(scenario())


def test_a_job_made_while_the_stream_is_open_arrives_at_once(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.connect() as side:
            await asyncio.sleep(0.1)
            waiting = server.measure(device)
            assignment = (await side.hear("job_assignment", within_s=3)).job_assignment
            await side.result(assignment.job_id, measured(assignment.measure.artifact.sha256))
            await waiting

    server.run(scenario())


def test_a_device_has_one_job_at_a_time(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        jobs = [server.measure(device), server.measure(device)]
        async with device.connect() as side:
            first = await side.assignment()
            await side.hears_no("job_assignment")
        async with device.connect(job_ids=[first.job_id]) as side:
            await side.result(first.job_id, measured(first.measure.artifact.sha256))
            second = await side.assignment()
            assert second.job_id != first.job_id
            await side.result(second.job_id, measured(second.measure.artifact.sha256))
            await asyncio.gather(*jobs)

    server.run(scenario())


def test_a_result_that_comes_twice_is_stored_once_and_confirmed_twice(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            assignment = await side.assignment()
            result = measured(assignment.measure.artifact.sha256)
            for _ in range(2):
                await side.result(assignment.job_id, result)
                receipt = (await side.hear("job_result_receipt")).job_result_receipt
                assert receipt.result_id == result.result_id
            again = measured(assignment.measure.artifact.sha256, p95_ms=1.0)
            await side.result(assignment.job_id, again)
            await side.hear("job_result_receipt")
        await waiting
        stored = await server.orchestrator.database.run(lambda tx: tx.measurements.list(device_id=device.id))
        assert [measurement.result_id for measurement in stored] == [result.result_id]

    server.run(scenario())


def test_the_same_key_finds_the_same_job_and_later_its_result(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        abandoned = server.measure(device, key="trial 7", sha256="cd" * 32)
        async with device.connect() as side:
            assignment = await side.assignment()
            abandoned.cancel()
            waiting = server.measure(device, key="trial 7", sha256="cd" * 32)
            await side.result(assignment.job_id, measured("cd" * 32, result_id="r-7"))
            assert (await waiting).result_id == "r-7"
            assert (await server.measure(device, key="trial 7", sha256="cd" * 32)).result_id == "r-7"
            await side.hears_no("job_assignment")

    server.run(scenario())


def test_a_job_that_its_device_forgot_is_leased_anew_at_once(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            first = await side.assignment()
        async with device.connect() as side:
            second = (await side.hear("job_assignment", within_s=3)).job_assignment
            assert (second.job_id, second.attempt) == (first.job_id, 2)
            await side.result(second.job_id, measured(second.measure.artifact.sha256))
            await waiting

    server.run(scenario())


def test_a_job_that_its_device_still_holds_keeps_its_lease(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            first = await side.assignment()
        async with device.connect(job_ids=[first.job_id]) as side:
            await side.hears_no("job_assignment")
            assert (await _job(server, first.job_id)).attempt == 1
            await side.result(first.job_id, measured(first.measure.artifact.sha256))
            await waiting

    server.run(scenario())


def test_a_lease_that_has_passed_is_given_anew(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            first = await side.assignment()
            with _later(server, LEASE + timedelta(seconds=1)):
                server.orchestrator.events.publish(f"device/{device.id}")
                second = await side.assignment()
                assert (second.job_id, second.attempt) == (first.job_id, 2)
                await side.result(second.job_id, measured(second.measure.artifact.sha256))
                await waiting

    server.run(scenario())


def test_heartbeats_that_name_a_job_renew_its_lease(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            job_id = (await side.assignment()).job_id
            before = (await _job(server, job_id)).lease_expires_at
            with _later(server, timedelta(seconds=40)):
                await side.heartbeat([job_id])

                async def renewed() -> bool:
                    return (await _job(server, job_id)).lease_expires_at != before

                await server.soon(renewed)
        waiting.cancel()

    server.run(scenario())


def test_a_job_is_given_up_after_so_many_attempts(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        for attempt in range(1, MAXIMUM_ATTEMPTS + 1):
            async with device.connect() as side:
                assert (await side.assignment()).attempt == attempt
        async with device.connect():
            with pytest.raises(OperationError, match=f"given up after {MAXIMUM_ATTEMPTS} attempts") as caught:
                await waiting
        assert caught.value.reason == "MEASUREMENT_FAILED"

    server.run(scenario())


def test_progress_reaches_whoever_waits(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("teller")
        told: list[str] = []
        waiting = asyncio.create_task(
            server.orchestrator.measuring.measure(
                key="told", device_id=device.id, request=_request(), on_progress=told.append
            )
        )
        await server.soon(lambda: told == ["waits for teller, which is offline"])
        async with device.connect() as side:
            job_id = (await side.assignment()).job_id
            await side.progress(job_id, "timing 240 of 400\x1b[31m")
            await server.soon(lambda: told[-1] == "teller: timing 240 of 400 [31m")
            await side.result(job_id, measured(_request().artifact_sha256))
            await waiting

    server.run(scenario())


def test_a_cancelled_job_is_called_off(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device, key="to be cancelled")
        async with device.connect() as side:
            job_id = (await side.assignment()).job_id
            await server.orchestrator.measuring.cancel("to be cancelled")
            assert (await side.hear("job_cancellation")).job_cancellation.job_id == job_id
            with pytest.raises(OperationError) as caught:
                await waiting
            assert caught.value.reason == "MEASUREMENT_CANCELLED"
            # Named again, by a device that missed it: called off again.
            await side.heartbeat([job_id])
            assert (await side.hear("job_cancellation")).job_cancellation.job_id == job_id

    server.run(scenario())


def test_a_device_that_stops_a_job_by_itself_gets_it_again(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            first = await side.assignment()
            stopped = measured(first.measure.artifact.sha256)
            stopped.outcome = measurement_pb2.OUTCOME_CANCELLED
            await side.result(first.job_id, stopped)
            second = await side.assignment()
            assert (second.job_id, second.attempt) == (first.job_id, 2)
            await side.result(second.job_id, measured(second.measure.artifact.sha256))
            assert (await waiting).outcome is Outcome.OK

    server.run(scenario())


def test_a_failed_outcome_is_a_result_too(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            assignment = await side.assignment()
            crashed = measured(assignment.measure.artifact.sha256)
            crashed.outcome = measurement_pb2.OUTCOME_CRASHED
            crashed.detail = "signal 11"
            crashed.ClearField("latency")
            await side.result(assignment.job_id, crashed)
            measurement = await waiting
        assert (measurement.outcome, measurement.detail, measurement.latency) == (Outcome.CRASHED, "signal 11", None)

    server.run(scenario())


@pytest.mark.parametrize(
    ("field", "value"),
    [("mean_ms", float("nan")), ("minimum_ms", -1.0), ("load_ms", float("inf")), ("quality", 0)],
)
def test_a_result_with_an_impossible_figure_fails_the_job(server: LiveServer, field: str, value: float) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            assignment = await side.assignment()
            bad = measured(assignment.measure.artifact.sha256)
            setattr(bad.latency, field, value)
            await side.result(assignment.job_id, bad)
            await side.hear("job_result_receipt")
            with pytest.raises(OperationError, match=field):
                await waiting

    server.run(scenario())


def test_a_result_of_another_artifact_fails_the_job(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device, sha256="01" * 32)
        async with device.connect() as side:
            assignment = await side.assignment()
            await side.result(assignment.job_id, measured("02" * 32))
            with pytest.raises(OperationError, match="another artifact"):
                await waiting

    server.run(scenario())


def test_a_device_cannot_report_as_another(server: LiveServer) -> None:
    async def scenario() -> None:
        victim, liar = await server.join("victim"), await server.join("liar")
        waiting = server.measure(victim)
        async with victim.connect() as honest, liar.connect() as lying:
            assignment = await honest.assignment()
            sha256 = assignment.measure.artifact.sha256
            await lying.result(assignment.job_id, measured(sha256, p95_ms=0.001))
            await lying.hear("job_result_receipt")
            await lying.progress(assignment.job_id, "hacked")
            await lying.heartbeat([assignment.job_id])
            assert (await lying.hear("job_cancellation")).job_cancellation.job_id == assignment.job_id
            job = await _job(server, assignment.job_id)
            assert (job.state, job.progress) == (JobState.LEASED, "")
            await honest.result(assignment.job_id, measured(sha256))
            assert (await waiting).device_id == victim.id
        stolen = await server.orchestrator.database.run(lambda tx: tx.measurements.list(device_id=liar.id))
        assert stolen == ()

    server.run(scenario())


def test_a_device_cannot_pass_off_another_devices_result_as_its_own(server: LiveServer) -> None:
    async def scenario() -> None:
        honest, thief = await server.join(), await server.join()
        theirs, own = server.measure(honest, sha256="03" * 32), server.measure(thief, sha256="03" * 32)
        async with honest.connect() as one, thief.connect() as other:
            await one.result((await one.assignment()).job_id, measured("03" * 32, result_id="precious"))
            await theirs
            await other.result((await other.assignment()).job_id, measured("03" * 32, result_id="precious"))
            with pytest.raises(OperationError, match="id that another result has"):
                await own

    server.run(scenario())


def test_the_newest_stream_wins_and_the_older_one_is_closed(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as older:
            assignment = await older.assignment()
            async with device.connect(job_ids=[assignment.job_id]) as newer:
                error = await older.ended(within_s=5)
                assert reason_of(error) == "SESSION_SUPERSEDED"
                await newer.result(assignment.job_id, measured(assignment.measure.artifact.sha256))
                await waiting

    server.run(scenario())


async def _remove(server: LiveServer, device: ScriptedDevice) -> None:
    async with server.channel() as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)
        await stub.RemoveDevice(devices_pb2.RemoveDeviceRequest(device=device.name), **await server.as_role())


def test_removing_a_device_closes_its_stream_and_shuts_it_out(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        waiting = server.measure(device)
        async with device.connect() as side:
            await side.assignment()
            await _remove(server, device)
            error = await side.ended(within_s=5)
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAUTHENTICATED, "REENROL")
            with pytest.raises(OperationError, match="removed from the fleet"):
                await waiting
        async with device.channel() as channel:
            side = await _said_hello(device, channel, protocol_minimum=1, protocol_maximum=1)
            assert reason_of(await side.ended()) == "REENROL"
        with pytest.raises(OperationError) as caught:
            await server.measure(device)
        assert caught.value.reason == "DEVICE_REMOVED"

    server.run(scenario())


def test_a_certificate_that_expires_ends_the_stream(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.connect() as side:
            with _later(server, timedelta(days=31)):
                await side.heartbeat()
                assert reason_of(await side.ended(within_s=8)) == "REENROL"

    server.run(scenario())


def test_a_stream_that_does_not_begin_with_hello_is_ended(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.channel() as channel:
            side = DeviceSide(channel)
            await side.heartbeat()
            error = await side.ended()
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "HELLO_MISSING")

    server.run(scenario())


@pytest.mark.parametrize(("oldest", "newest"), [(2, 3), (0, 0)])
def test_a_device_that_speaks_no_common_protocol_is_told_so(server: LiveServer, oldest: int, newest: int) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.channel() as channel:
            side = await _said_hello(device, channel, protocol_minimum=oldest, protocol_maximum=newest)
            error = await side.ended()
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "PROTOCOL_UNSUPPORTED")

    server.run(scenario())


def test_a_flood_of_messages_is_slowed_down_and_others_are_served(server: LiveServer) -> None:
    async def scenario() -> None:
        loud, quiet = await server.join(), await server.join()
        waiting = server.measure(quiet)
        async with loud.connect() as flooding, quiet.connect() as other:
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await flooding.progress("no-such-job", "x" * 2000)
                    sent += 1

            task = asyncio.create_task(flood())
            assignment = (await other.hear("job_assignment", within_s=10)).job_assignment
            await other.result(assignment.job_id, measured(assignment.measure.artifact.sha256))
            await asyncio.wait_for(waiting, 10)

            async def held_back() -> bool:
                before = sent
                await asyncio.sleep(0.5)
                return sent - before < 100

            # What is not read waits at the sender, once the connection's window is full.
            await server.soon(held_back)
            task.cancel()

    server.run(scenario())


def test_a_message_that_is_too_large_ends_the_stream(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.connect() as side:
            await side.progress("job", "x" * 300_000)
            assert (await side.ended()).code() is grpc.StatusCode.INVALID_ARGUMENT
        async with device.connect() as side:
            await side.progress("job", "x" * 2_000_000)
            assert (await side.ended()).code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    server.run(scenario())


def test_a_device_that_opens_streams_without_end_is_held_back(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        async with device.channel() as channel:
            reasons = []
            for _ in range(60):
                side = await _said_hello(device, channel, protocol_minimum=1, protocol_maximum=1)
                try:
                    await side.hear("welcome")
                except grpc.aio.AioRpcError as error:
                    reasons.append(reason_of(error))
                    break
            assert reasons == ["RATE_LIMITED"]

    server.run(scenario())


def test_facts_of_the_newest_hello_count(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join()
        facts = device_facts_pb2.DeviceFacts(hostname="h", architecture="riscv64", cpu_count=2)
        release = session_pb2.ActiveRelease(manifest_sha256="ee" * 32, name="digits", version="3")
        async with device.connect(facts=facts, active_release=release):
            stored = await server.orchestrator.database.run(lambda tx: tx.devices.get(device.id))
        assert stored.facts.architecture == "riscv64"
        assert stored.active_release is not None
        assert (stored.active_release.name, stored.active_release.version) == ("digits", "3")

    server.run(scenario())


def _request() -> "object":
    from orchestrator.fleet.measurement import MeasureRequest

    return MeasureRequest(artifact_sha256="aa" * 32, artifact_size_bytes=10, artifact_format="onnx")
