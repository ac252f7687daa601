"""An error's way: from where it is raised to the class that the client raises."""

import asyncio
import logging
from typing import Any

import grpc
import pytest
from fleetfit.v1 import devices_pb2, devices_pb2_grpc

from orchestrator import errors
from orchestrator.api.error_table import STATUS, status_of, trailing_metadata
from orchestrator.client.client import Client
from orchestrator.errors import FleetfitError
from tests.orchestrator.api.conftest import LiveServer


def _family(kind: type[FleetfitError]) -> set[type[FleetfitError]]:
    return {kind}.union(*(_family(child) for child in kind.__subclasses__()))


KINDS = sorted(
    (kind for kind in _family(FleetfitError) if kind.__module__ == errors.__name__), key=lambda k: k.__name__
)


def test_every_class_of_error_has_a_row() -> None:
    assert set(STATUS) == set(KINDS)


def test_a_class_made_elsewhere_has_the_row_of_its_parent() -> None:
    class FullError(errors.ConflictError):
        pass

    assert status_of(FullError("full")) is STATUS[errors.ConflictError]


def _raised_by_the_client(server: LiveServer, monkeypatch: pytest.MonkeyPatch, error: FleetfitError) -> FleetfitError:
    """What the real client raises where the server's inside raises ``error``."""

    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("orchestrator.fleet.devices.parse_selector", fail)

    def ask() -> FleetfitError:
        with Client.connect(data_dir=server.config.data_dir, address=server.address, ca=server.ca_path) as client:
            with pytest.raises(FleetfitError) as caught:
                client.list_devices()
            return caught.value

    return server.run(asyncio.to_thread(ask))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not FleetfitError], ids=lambda kind: kind.__name__)
def test_the_client_raises_the_class_that_the_server_raised(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, kind: type[FleetfitError]
) -> None:
    error = kind("größer als erlaubt: “x”", hint="drei Zeilen\nsind zu viel")
    raised = _raised_by_the_client(server, monkeypatch, error)
    assert type(raised) is kind
    assert (raised.message, raised.hint, raised.reason) == (error.message, error.hint, kind.default_reason)


@pytest.mark.parametrize(
    "kind",
    [
        errors.InvalidInputError,
        errors.NotFoundError,
        errors.UnauthenticatedError,
        errors.PermissionDeniedError,
        errors.UnavailableError,
        errors.ConflictError,
        errors.DeadlineError,
        errors.OperationError,
    ],
)
def test_a_finer_reason_does_not_change_the_class(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, kind: type[FleetfitError]
) -> None:
    raised = _raised_by_the_client(server, monkeypatch, kind("message", reason="SOMETHING_FINER"))
    assert (type(raised), raised.reason) == (kind, "SOMETHING_FINER")


def test_very_long_messages_fit_into_the_metadata() -> None:
    for text in ("x" * 100_000, "ü" * 100_000, "\ud800" * 100_000):
        metadata = dict(trailing_metadata(FleetfitError(text, hint=text), "request-1"))
        assert sum(len(value) for value in metadata.values()) < 4096
        assert isinstance(metadata["fleetfit-message-bin"], bytes)
        metadata["fleetfit-message-bin"].decode()


async def _list(server: LiveServer, **options: Any) -> grpc.aio.AioRpcError:
    async with server.channel() as channel:
        stub = devices_pb2_grpc.DeviceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListDevices(devices_pb2.ListDevicesRequest(), **{**await server.as_role(), **options})
        return caught.value


@pytest.fixture
def broken_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise KeyError("/var/lib/secret-place")

    monkeypatch.setattr("orchestrator.fleet.devices.parse_selector", fail)


@pytest.mark.usefixtures("broken_inside")
def test_a_bug_becomes_internal_and_gives_nothing_away(server: LiveServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = server.run(_list(server))
    trailing = dict(error.trailing_metadata() or ())
    assert error.code() is grpc.StatusCode.INTERNAL
    assert trailing["fleetfit-reason"] == "INTERNAL"
    assert "secret-place" not in str(error.details()) + str(trailing)
    request_id = str(trailing["fleetfit-request-id"])
    assert request_id in trailing["fleetfit-hint-bin"].decode()
    # The log has the id and the whole story.
    assert request_id in caplog.text
    assert "secret-place" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.usefixtures("broken_inside")
def test_a_clients_own_request_id_is_kept_if_it_is_one(server: LiveServer) -> None:
    async def answered(request_id: str) -> str:
        metadata = (*(await server.as_role())["metadata"], ("fleetfit-request-id", request_id))
        error = await _list(server, metadata=metadata)
        return str(dict(error.trailing_metadata() or ())["fleetfit-request-id"])

    assert server.run(answered("my-request-0001")) == "my-request-0001"
    assert server.run(answered("<script>alert(1)</script>")) != "<script>alert(1)</script>"


def test_an_unknown_method_is_unimplemented(server: LiveServer) -> None:
    async def scenario() -> grpc.StatusCode:
        async with server.channel() as channel:
            call = channel.unary_unary("/fleetfit.v1.DeviceService/Explode")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(b"", **await server.as_role())
            return caught.value.code()

    assert server.run(scenario()) is grpc.StatusCode.UNIMPLEMENTED
