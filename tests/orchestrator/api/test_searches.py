"""Searches as operators see them, over real sockets; the engine takes every task and finishes none."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import grpc
import pytest
from fleetfit.v1 import searches_pb2, searches_pb2_grpc

from orchestrator.fleet.api_token import Role
from orchestrator.search.search import SearchState
from orchestrator.search.trial import TrialState
from tests.fakes.scripted_device import reason_of
from tests.orchestrator.api.conftest import LiveServer
from tests.orchestrator.storage.records import a_measurement, a_search, a_trial

SPEC = {"name": "digits", "devices": ["searcher"], "budgets": {"latency_p95": "20ms", "size": "64kB"}}


async def _call(server: LiveServer, method: str, request: Any, role: Role = Role.OPERATOR) -> Any:
    async with server.channel() as channel:
        stub = searches_pb2_grpc.SearchServiceStub(channel)
        return await getattr(stub, method)(request, **await server.as_role(role))


async def _download(server: LiveServer, search: str, trial_number: int | None = None) -> list[Any]:
    async with server.channel() as channel:
        stub = searches_pb2_grpc.SearchServiceStub(channel)
        request = searches_pb2.DownloadTrialArtifactRequest(search=search, trial_number=trial_number)
        return [message async for message in stub.DownloadTrialArtifact(request, **await server.as_role(Role.VIEWER))]


def _request(**changes: Any) -> searches_pb2.CreateSearchRequest:
    fields = {
        "workload_filename": "digits.py",
        "workload_source": b"class Digits:\n    pass\n",
        "spec_json": json.dumps(SPEC),
        **changes,
    }
    return searches_pb2.CreateSearchRequest(**fields)


async def _refusal(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def _searcher(server: LiveServer) -> None:
    names = await server.orchestrator.database.run(lambda tx: tx.devices.names())
    if "searcher" not in names:
        await server.join("searcher", site="lab")


def test_a_search_begins_once_for_one_idempotency_key(server: LiveServer) -> None:
    async def scenario() -> None:
        await _searcher(server)
        first = (await _call(server, "CreateSearch", _request(idempotency_key="once"))).search
        second = (await _call(server, "CreateSearch", _request(idempotency_key="once"))).search
        other = (await _call(server, "CreateSearch", _request())).search
        assert first.id == second.id != other.id
        assert (first.name, list(first.devices), first.workload_filename) == ("digits", ["searcher"], "digits.py")
        assert first.state == searches_pb2.SEARCH_STATE_RUNNING
        assert (first.budgets.latency_p95_ms, first.budgets.size_bytes) == (20.0, 64_000)
        assert not first.budgets.HasField("energy_mj")
        listed = await _call(server, "ListSearches", searches_pb2.ListSearchesRequest(), Role.VIEWER)
        assert {first.id, other.id} <= {search.id for search in listed.searches}
        for search in (first, other):
            await _call(server, "CancelSearch", searches_pb2.CancelSearchRequest(search=search.id))

    server.run(scenario())


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"spec_json": "{"}, grpc.StatusCode.INVALID_ARGUMENT, "not JSON"),
        ({"spec_json": "[1]"}, grpc.StatusCode.INVALID_ARGUMENT, "not a JSON object"),
        ({"spec_json": "[" * 100_000}, grpc.StatusCode.INVALID_ARGUMENT, "not JSON"),
        ({"spec_json": json.dumps({**SPEC, "budget": {}})}, grpc.StatusCode.INVALID_ARGUMENT, "budget"),
        (
            {"spec_json": json.dumps({**SPEC, "budgets": {"size": "64"}})},
            grpc.StatusCode.INVALID_ARGUMENT,
            "budgets.size: '64' has no unit",
        ),
        ({"spec_json": json.dumps({**SPEC, "devices": ["nobody"]})}, grpc.StatusCode.NOT_FOUND, "'nobody'"),
        ({"spec_json": json.dumps({**SPEC, "devices": ["site=moon"]})}, grpc.StatusCode.NOT_FOUND, "site=moon"),
        ({"spec_json": json.dumps({**SPEC, "devices": ["site="]})}, grpc.StatusCode.INVALID_ARGUMENT, "site="),
        ({"workload_filename": "../digits.py"}, grpc.StatusCode.INVALID_ARGUMENT, "name of a Python file"),
        ({"workload_filename": "digits.exe"}, grpc.StatusCode.INVALID_ARGUMENT, "name of a Python file"),
        ({"workload_source": b" \n"}, grpc.StatusCode.INVALID_ARGUMENT, "empty"),
        ({"workload_source": b"#" * 600_000}, grpc.StatusCode.INVALID_ARGUMENT, "524288 are allowed"),
    ],
)
def test_a_search_that_cannot_be_is_refused_in_one_line(
    server: LiveServer, changes: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    async def scenario() -> None:
        await _searcher(server)
        before = await server.orchestrator.database.run(lambda tx: len(tx.searches.list()))
        error = await _refusal(_call(server, "CreateSearch", _request(**changes)))
        assert error.code() is code
        assert words in str(error.details())
        assert await server.orchestrator.database.run(lambda tx: len(tx.searches.list())) == before

    server.run(scenario())


def test_a_watch_shows_each_change_and_ends_with_the_last(server: LiveServer) -> None:
    async def scenario() -> None:
        await _searcher(server)
        search = (await _call(server, "CreateSearch", _request())).search
        async with server.channel() as channel:
            stub = searches_pb2_grpc.SearchServiceStub(channel)
            call = stub.WatchSearch(
                searches_pb2.WatchSearchRequest(search=search.id), **await server.as_role(Role.VIEWER)
            )
            messages = aiter(call)
            first = await anext(messages)
            assert first.search.state == searches_pb2.SEARCH_STATE_RUNNING
            assert first.trials[0].number == 0
            await _call(server, "CancelSearch", searches_pb2.CancelSearchRequest(search=search.id))
            states = [message.search.state async for message in messages]
            assert states[-1] == searches_pb2.SEARCH_STATE_CANCELLED
            assert await call.code() is grpc.StatusCode.OK

    server.run(scenario())


def test_a_watch_that_nobody_reads_any_more_leaves_nothing_behind(server: LiveServer) -> None:
    async def scenario() -> None:
        await _searcher(server)
        search = (await _call(server, "CreateSearch", _request())).search
        topic = f"search/{search.id}"
        waiters = server.orchestrator.events._waiters
        before = len(waiters.get(topic, ()))
        async with server.channel() as channel:
            stub = searches_pb2_grpc.SearchServiceStub(channel)
            call = stub.WatchSearch(
                searches_pb2.WatchSearchRequest(search=search.id), **await server.as_role(Role.VIEWER)
            )
            await call.read()
            assert len(waiters.get(topic, ())) == before + 1
            call.cancel()
            await server.soon(lambda: len(waiters.get(topic, ())) == before)
        await _call(server, "CancelSearch", searches_pb2.CancelSearchRequest(search=search.id))

    server.run(scenario())


def test_the_winner_or_a_trial_by_its_number_can_be_downloaded(server: LiveServer) -> None:
    async def scenario() -> None:
        winner_bytes, other_bytes = b"w" * 300_000, b"o" * 10
        blobs = server.orchestrator.blobs
        search = a_search(state=SearchState.SUCCEEDED)
        winner = a_trial(
            search, number=2, state=TrialState.FEASIBLE, artifact_sha256=blobs.put(winner_bytes), format="onnx"
        )
        other = a_trial(search, number=1, artifact_sha256=blobs.put(other_bytes), format="tflite")
        untrained = a_trial(search, number=3, state=TrialState.DOMINATED)
        search = replace(search, best_trial_id=winner.id)

        def seed(tx: Any) -> None:
            tx.searches.add(search)
            for trial in (winner, other, untrained):
                tx.trials.add(trial)

        await server.orchestrator.database.run(seed)
        messages = await _download(server, search.name)
        assert (messages[0].sha256, messages[0].size_bytes) == (winner.artifact_sha256, 300_000)
        assert messages[0].format == "onnx"
        assert b"".join(message.data for message in messages) == winner_bytes
        assert b"".join(message.data for message in await _download(server, search.id, 1)) == other_bytes
        assert reason_of(await _refusal(_download(server, search.id, 3))) == "NO_ARTIFACT"
        assert (await _refusal(_download(server, search.id, 9))).code() is grpc.StatusCode.NOT_FOUND

    server.run(scenario())


@pytest.mark.parametrize(
    ("state", "reason"),
    [(SearchState.RUNNING, "SEARCH_RUNNING"), (SearchState.INFEASIBLE, "NO_FEASIBLE_MODEL")],
)
def test_a_winner_that_is_not_there_is_said_clearly(server: LiveServer, state: SearchState, reason: str) -> None:
    async def scenario() -> None:
        search = a_search(state=state)
        await server.orchestrator.database.run(lambda tx: tx.searches.add(search))
        error = await _refusal(_download(server, search.id))
        assert (error.code(), reason_of(error)) == (grpc.StatusCode.FAILED_PRECONDITION, reason)

    server.run(scenario())


def test_a_report_is_a_page(server: LiveServer) -> None:
    async def scenario() -> bytes:
        await _searcher(server)
        search = (await _call(server, "CreateSearch", _request())).search
        await _call(server, "CancelSearch", searches_pb2.CancelSearchRequest(search=search.id))
        report = await _call(
            server, "GetSearchReport", searches_pb2.GetSearchReportRequest(search=search.id), Role.VIEWER
        )
        return bytes(report.html)

    assert b"<html" in server.run(scenario()).lower()


def test_what_is_not_there_is_not_found(server: LiveServer) -> None:
    async def scenario() -> None:
        calls = (
            _call(server, "GetSearch", searches_pb2.GetSearchRequest(search="no")),
            _call(server, "CancelSearch", searches_pb2.CancelSearchRequest(search="no")),
            _call(server, "GetSearchReport", searches_pb2.GetSearchReportRequest(search="no")),
            _download(server, "no"),
        )
        for error in await asyncio.gather(*(_refusal(call) for call in calls)):
            assert error.code() is grpc.StatusCode.NOT_FOUND

    server.run(scenario())


def test_figures_are_shown_by_the_name_of_the_device_and_by_its_id_once_it_is_gone(server: LiveServer) -> None:
    async def scenario() -> None:
        await _searcher(server)
        device = await server.orchestrator.database.run(lambda tx: tx.devices.find("searcher"))
        search = a_search(state=SearchState.SUCCEEDED, device_ids=(device.id, "gone"))
        measurements = [a_measurement(device_id=device.id), a_measurement(device_id="gone")]
        trial = a_trial(search, measurement_ids={each.device_id: each.result_id for each in measurements})

        def seed(tx: Any) -> None:
            tx.searches.add(search)
            tx.trials.add(trial)
            for measurement in measurements:
                tx.measurements.add_once(measurement)

        await server.orchestrator.database.run(seed)
        shown = await _call(server, "GetSearch", searches_pb2.GetSearchRequest(search=search.name))
        assert list(shown.search.devices) == ["searcher", "gone"]
        assert {name: each.result_id for name, each in shown.trials[0].measurements.items()} == {
            "searcher": measurements[0].result_id,
            "gone": measurements[1].result_id,
        }
        assert shown.search.measurements == 2
        request = searches_pb2.GetSearchReportRequest(search=search.name)
        page = bytes((await _call(server, "GetSearchReport", request)).html).decode()
        assert search.name in page

    server.run(scenario())
