"""From a search's winner to a device that serves it, over real sockets."""

import asyncio
import io
import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import grpc
import numpy
import pytest
from fleetfit.v1 import (
    delivery_pb2,
    devices_pb2,
    devices_pb2_grpc,
    releases_pb2,
    releases_pb2_grpc,
    rollouts_pb2,
    rollouts_pb2_grpc,
    session_pb2,
)
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.fleet.api_token import Role
from orchestrator.search.search import Search, SearchState
from orchestrator.search.trial import TrialState
from tests.fakes.scripted_device import DeviceSide, ScriptedDevice, reason_of
from tests.orchestrator.api.conftest import LiveServer
from tests.orchestrator.storage.records import a_search, a_trial


async def _releases(server: LiveServer, method: str, request: Any) -> Any:
    async with server.channel() as channel:
        stub = releases_pb2_grpc.ReleaseServiceStub(channel)
        return await getattr(stub, method)(request, **await server.as_role(Role.SIGNER))


async def _rollouts(server: LiveServer, method: str, request: Any) -> Any:
    async with server.channel() as channel:
        stub = rollouts_pb2_grpc.RolloutServiceStub(channel)
        return await getattr(stub, method)(request, **await server.as_role(Role.OPERATOR))


async def _refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def _ended_search(server: LiveServer, model: bytes = b"a model") -> Search:
    """A search with a winner, whose artifact and golden file are in the blob store."""
    golden = io.BytesIO()
    numpy.savez(golden, input_0=numpy.zeros((1, 4), "float32"), output_0=numpy.zeros((1, 2), "float32"))
    blobs = server.orchestrator.blobs
    search = a_search(state=SearchState.SUCCEEDED, metric_name="accuracy")
    winner = a_trial(
        search,
        number=1,
        state=TrialState.FEASIBLE,
        artifact_sha256=blobs.put(model),
        golden_sha256=blobs.put(golden.getvalue()),
        golden_tolerance=0.001,
        format="onnx",
        size_bytes=len(model),
        accuracy=0.97,
    )
    search = replace(search, best_trial_id=winner.id)

    def seed(tx: Any) -> None:
        tx.searches.add(search)
        tx.trials.add(winner)

    await server.orchestrator.database.run(seed)
    return search


async def _release(server: LiveServer, name: str = "", model: bytes = b"a model") -> releases_pb2.Release:
    search = await _ended_search(server, model)
    request = releases_pb2.CreateReleaseRequest(search=search.name, name=name)
    response = await _releases(server, "CreateRelease", request)
    release: releases_pb2.Release = response.release
    return release


async def _rollout(server: LiveServer, release: str, selector: str, key: str = "") -> rollouts_pb2.Rollout:
    request = rollouts_pb2.CreateRolloutRequest(release=release, selector=selector, idempotency_key=key)
    rollout: rollouts_pb2.Rollout = (await _rollouts(server, "CreateRollout", request)).rollout
    return rollout


def _report(
    deployment_id: str,
    state: str,
    release: releases_pb2.Release | None = None,
    *,
    report_id: str = "",
    reason: str = "",
) -> session_pb2.DeploymentReport:
    now = Timestamp()
    now.FromDatetime(datetime.now(timezone.utc))
    report = session_pb2.DeploymentReport(
        report_id=report_id or f"{deployment_id}-{state}",
        deployment_id=deployment_id,
        state=f"DEPLOYMENT_STATE_{state}",
        reason=reason,
        reported_at=now,
    )
    if release is not None:
        report.active_release.manifest_sha256 = release.manifest_sha256
        report.active_release.name, report.active_release.version = release.name, release.version
    return report


async def _tell(side: DeviceSide, report: session_pb2.DeploymentReport) -> None:
    await side.say(deployment_report=report)
    receipt = (await side.hear("deployment_receipt")).deployment_receipt
    assert receipt.report_id == report.report_id


async def _state(server: LiveServer, rollout_id: str) -> tuple[int, list[int]]:
    request = rollouts_pb2.GetRolloutRequest(rollout=rollout_id)
    rollout = (await _rollouts(server, "GetRollout", request)).rollout
    return rollout.state, [deployment.state for deployment in rollout.deployments]


def test_the_winner_becomes_a_release_once(server: LiveServer) -> None:
    async def scenario() -> None:
        search = await _ended_search(server)
        request = releases_pb2.CreateReleaseRequest(search=search.id)
        first = (await _releases(server, "CreateRelease", request)).release
        second = (await _releases(server, "CreateRelease", request)).release
        assert first == second
        assert (first.name, first.version, first.counter, first.search_id) == (search.name, "1", 1, search.id)
        assert json.loads(first.manifest_json)["name"] == search.name
        shown = await _releases(server, "GetRelease", releases_pb2.GetReleaseRequest(release=f"{search.name}:1"))
        assert shown.release == first
        listed = await _releases(server, "ListReleases", releases_pb2.ListReleasesRequest())
        assert first in listed.releases

    server.run(scenario())


def test_a_release_of_a_search_without_a_winner_is_refused(server: LiveServer) -> None:
    async def scenario() -> None:
        search = a_search(state=SearchState.INFEASIBLE)
        await server.orchestrator.database.run(lambda tx: tx.searches.add(search))
        error = await _refusal(_releases(server, "CreateRelease", releases_pb2.CreateReleaseRequest(search=search.id)))
        assert reason_of(error) == "NO_FEASIBLE_MODEL"

    server.run(scenario())


async def _proven_targets(device: ScriptedDevice) -> dict[str, Any]:
    """The targets that the release repository lists now, followed from its timestamp as a device does."""

    async def read(name: str) -> dict[str, Any]:
        async with device.delivery() as stub:
            request = delivery_pb2.FetchRepositoryFileRequest(path=f"metadata/{name}.json")
            signed: dict[str, Any] = json.loads((await stub.FetchRepositoryFile(request, timeout=20)).data)["signed"]
            return signed

    timestamp = await read("timestamp")
    snapshot = await read(f"{timestamp['meta']['snapshot.json']['version']}.snapshot")
    targets: dict[str, Any] = (await read(f"{snapshot['meta']['targets.json']['version']}.targets"))["targets"]
    return targets


def test_a_rollout_reaches_its_device_and_ends_when_the_device_serves_it(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("served", part="one")
        release = await _release(server)
        rollout = await _rollout(server, release.id, "part=one")
        assert [deployment.device for deployment in rollout.deployments] == ["served"]
        async with device.connect() as side:
            desired = (await side.hear("desired_release")).desired_release
            assert (desired.manifest_path, desired.manifest_sha256) == (
                release.manifest_path,
                release.manifest_sha256,
            )
            proven = (await _proven_targets(device))[desired.manifest_path]
            assert proven["hashes"]["sha256"] == release.manifest_sha256
            for state in ("DOWNLOADING", "VERIFYING", "TESTING", "ACTIVATING"):
                await _tell(side, _report(desired.deployment_id, state))
            assert (await _state(server, rollout.id))[0] == rollouts_pb2.ROLLOUT_STATE_RUNNING
            for _ in range(2):
                await _tell(side, _report(desired.deployment_id, "ACTIVE", release))
            await side.hears_no("desired_release")
        assert await _state(server, rollout.id) == (
            rollouts_pb2.ROLLOUT_STATE_SUCCEEDED,
            [session_pb2.DEPLOYMENT_STATE_ACTIVE],
        )
        stored = await server.orchestrator.database.run(lambda tx: tx.devices.get(device.id))
        assert stored.active_release is not None
        assert stored.active_release.manifest_sha256 == release.manifest_sha256

    server.run(scenario())


def test_a_rollout_that_begins_while_the_stream_is_open_is_told_at_once(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("open")
        release = await _release(server)
        async with device.connect() as side:
            await side.hears_no("desired_release", for_s=0.1)
            await _rollout(server, release.id, "open")
            desired = (await side.hear("desired_release", within_s=3)).desired_release
            assert desired.manifest_sha256 == release.manifest_sha256
        # Level-triggered: said again on the next stream.
        async with device.connect() as side:
            assert (await side.hear("desired_release")).desired_release == desired

    server.run(scenario())


def test_a_refusal_is_shown_with_its_reason(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("refuser")
        release = await _release(server)
        rollout = await _rollout(server, release.id, "refuser")
        async with server.channel() as channel:
            stub = rollouts_pb2_grpc.RolloutServiceStub(channel)
            call = stub.WatchRollout(
                rollouts_pb2.WatchRolloutRequest(rollout=rollout.id), **await server.as_role(Role.VIEWER)
            )
            messages = aiter(call)
            assert (await anext(messages)).rollout.state == rollouts_pb2.ROLLOUT_STATE_RUNNING
            async with device.connect() as side:
                desired = (await side.hear("desired_release")).desired_release
                await _tell(side, _report(desired.deployment_id, "REFUSED", reason="the hash is another one\x07"))
            last = [message.rollout async for message in messages][-1]
        assert last.state == rollouts_pb2.ROLLOUT_STATE_FAILED
        assert [deployment.reason for deployment in last.deployments] == ["the hash is another one"]

    server.run(scenario())


def test_a_watch_ends_when_the_device_is_removed(server: LiveServer) -> None:
    async def scenario() -> None:
        await server.join("leaves")
        release = await _release(server)
        rollout = await _rollout(server, release.id, "leaves")
        async with server.channel() as channel:
            stub = rollouts_pb2_grpc.RolloutServiceStub(channel)
            request = rollouts_pb2.WatchRolloutRequest(rollout=rollout.id)
            messages = aiter(stub.WatchRollout(request, **await server.as_role(Role.VIEWER)))
            assert (await anext(messages)).rollout.state == rollouts_pb2.ROLLOUT_STATE_RUNNING
            devices = devices_pb2_grpc.DeviceServiceStub(channel)
            removal = devices_pb2.RemoveDeviceRequest(device="leaves")
            await devices.RemoveDevice(removal, **await server.as_role(Role.OPERATOR))
            last = [message.rollout async for message in messages][-1]
        assert last.state == rollouts_pb2.ROLLOUT_STATE_FAILED
        assert [each.state for each in last.deployments] == [session_pb2.DEPLOYMENT_STATE_REMOVED]

    server.run(scenario())


def test_r9_a_fleet_goes_back_to_what_it_ran_under_a_higher_counter(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("goes-back")
        first, second = [await _release(server, "spotter", model) for model in (b"older", b"newer")]
        async with device.connect() as side:
            for release in (first, second):
                rollout = await _rollout(server, release.id, "goes-back")
                desired = (await side.hear("desired_release")).desired_release
                await _tell(side, _report(desired.deployment_id, "ACTIVE", release))
            request = rollouts_pb2.RollBackRolloutRequest(rollout=rollout.id, idempotency_key="back")
            (back,) = (await _rollouts(server, "RollBackRollout", request)).rollouts
            desired = (await side.hear("desired_release")).desired_release
            again = releases_pb2.GetReleaseRequest(release=back.release_id)
            release = (await _releases(server, "GetRelease", again)).release
            assert (release.artifact_sha256, release.counter) == (first.artifact_sha256, second.counter + 1)
            assert desired.manifest_sha256 == release.manifest_sha256
            proven = (await _proven_targets(device))[desired.manifest_path]
            assert proven["hashes"]["sha256"] == release.manifest_sha256
            await _tell(side, _report(desired.deployment_id, "ACTIVE", release))
        assert (await _state(server, back.id))[0] == rollouts_pb2.ROLLOUT_STATE_SUCCEEDED

    server.run(scenario())


def test_a_rollout_in_waves_is_paused_resumed_and_aborted(server: LiveServer) -> None:
    async def scenario() -> None:
        for name in ("first-in-waves", "second-in-waves"):
            await server.join(name, fleet="waves")
        release = await _release(server)
        waves = [rollouts_pb2.WaveSize(devices=1), rollouts_pb2.WaveSize(fraction=1.0)]
        create = rollouts_pb2.CreateRolloutRequest(
            release=release.id, selector="fleet=waves", plan=rollouts_pb2.RolloutPlan(waves=waves)
        )
        rollout = (await _rollouts(server, "CreateRollout", create)).rollout
        assert sorted(each.state for each in rollout.deployments) == [
            session_pb2.DEPLOYMENT_STATE_PENDING,
            session_pb2.DEPLOYMENT_STATE_WAITING,
        ]
        for verb, state in (("Pause", "PAUSED"), ("Resume", "RUNNING"), ("Abort", "ABORTED")):
            request = getattr(rollouts_pb2, f"{verb}RolloutRequest")(rollout=rollout.id)
            changed = (await _rollouts(server, f"{verb}Rollout", request)).rollout
            assert changed.state == rollouts_pb2.RolloutState.Value(f"ROLLOUT_STATE_{state}")
        retry = rollouts_pb2.RetryRolloutRequest(rollout=rollout.id)
        assert reason_of(await _refusal(_rollouts(server, "RetryRollout", retry))) == "NOTHING_TO_RETRY"

    server.run(scenario())


def test_a_device_cannot_report_for_another_and_its_report_is_confirmed_all_the_same(server: LiveServer) -> None:
    async def scenario() -> None:
        victim, liar = await server.join("honest-one"), await server.join("lying-one")
        release = await _release(server)
        rollout = await _rollout(server, release.id, victim.name)
        async with victim.connect() as honest, liar.connect() as lying:
            desired = (await honest.hear("desired_release")).desired_release
            await _tell(lying, _report(desired.deployment_id, "ACTIVE", release, report_id="lie-1"))
            await _tell(lying, _report("no-such-deployment", "ACTIVE", release, report_id="lie-2"))
            await _tell(lying, _report("not an id at all", "ACTIVE", release, report_id="lie-3"))
            state, deployments = await _state(server, rollout.id)
            assert (state, deployments) == (
                rollouts_pb2.ROLLOUT_STATE_RUNNING,
                [session_pb2.DEPLOYMENT_STATE_PENDING],
            )

    server.run(scenario())


def test_a_rollout_is_made_once_for_one_idempotency_key(server: LiveServer) -> None:
    async def scenario() -> None:
        await server.join("once-only")
        release = await _release(server)
        first, second = [await _rollout(server, release.id, "once-only", "key-1") for _ in range(2)]
        assert first.id == second.id
        listed = (await _rollouts(server, "ListRollouts", rollouts_pb2.ListRolloutsRequest())).rollouts
        assert [rollout.id for rollout in listed].count(first.id) == 1

    server.run(scenario())


def test_a_rollout_to_nobody_is_refused(server: LiveServer) -> None:
    async def scenario() -> None:
        release = await _release(server)
        for selector, code in (
            ("", grpc.StatusCode.INVALID_ARGUMENT),
            ("site=moon", grpc.StatusCode.NOT_FOUND),
            ("=", grpc.StatusCode.INVALID_ARGUMENT),
        ):
            assert (await _refusal(_rollout(server, release.id, selector))).code() is code
        assert (await _refusal(_rollout(server, "no:1", "all"))).code() is grpc.StatusCode.NOT_FOUND
        request = rollouts_pb2.GetRolloutRequest(rollout="no")
        assert (await _refusal(_rollouts(server, "GetRollout", request))).code() is grpc.StatusCode.NOT_FOUND

    server.run(scenario())


def test_measuring_goes_on_beside_a_rollout(server: LiveServer) -> None:
    async def scenario() -> None:
        device = await server.join("both")
        release = await _release(server)
        waiting = server.measure(device)
        await _rollout(server, release.id, "both")
        async with device.connect() as side:
            kinds = {"job_assignment", "desired_release"}
            await asyncio.gather(side.hear("job_assignment"))
            heard = {message.WhichOneof("body") for message in side.heard} | {"job_assignment"}
            if "desired_release" not in heard:
                await side.hear("desired_release")
                heard.add("desired_release")
            assert kinds <= heard
        waiting.cancel()

    server.run(scenario())
