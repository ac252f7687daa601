import hashlib
import json
import socket
import threading
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from fleetfit.v1 import searches_pb2, session_pb2

from orchestrator import errors
from orchestrator.client import Client, connection
from orchestrator.client import client as client_module
from orchestrator.errors import (
    ConflictError,
    DeadlineError,
    FleetfitError,
    InvalidInputError,
    NotFoundError,
    OperationError,
    UnauthenticatedError,
    UnavailableError,
)
from orchestrator.fleet.device import Provenance
from orchestrator.rollouts.rollout import RolloutState
from orchestrator.search.search import SearchState
from orchestrator.search.trial import TrialState
from tests.fakes.fake_api import (
    STARTED,
    TOKEN,
    FakeServer,
    Script,
    a_device,
    a_finished_search,
    a_release,
    a_rollout,
    a_search,
    fake_server,
)

SPEC = {"name": "digits", "devices": ["my-pi"], "budgets": {"latency_p95": "20ms"}}


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("FLEETFIT_SERVER", "FLEETFIT_TOKEN", "FLEETFIT_CA", "FLEETFIT_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    with fake_server(tmp_path / "server", Script(devices=[a_device()])) as running:
        yield running


@pytest.fixture
def client(server):
    with Client.connect(data_dir=server.data_dir) as connected:
        yield connected


def test_a_local_server_is_found_by_its_data_directory(client, server):
    assert client.address == server.address
    assert client.server_info().role == "admin"


def test_arguments_name_the_server_without_any_data_directory(server):
    with Client.connect(server.address, TOKEN, server.ca_path) as client:
        assert client.server_info().version == "0.1.0"


def test_the_environment_names_the_server(server, monkeypatch):
    monkeypatch.setenv("FLEETFIT_SERVER", server.address)
    monkeypatch.setenv("FLEETFIT_TOKEN", f"{TOKEN}\n")
    monkeypatch.setenv("FLEETFIT_CA", str(server.ca_path))
    with Client.connect() as client:
        assert client.server_info().version == "0.1.0"


def test_an_argument_goes_before_the_environment(server, monkeypatch):
    monkeypatch.setenv("FLEETFIT_DATA_DIR", str(server.data_dir))
    monkeypatch.setenv("FLEETFIT_TOKEN", "ffo_another")
    with Client.connect(token=TOKEN) as client:
        assert client.server_info().version == "0.1.0"


def test_a_named_data_directory_goes_before_the_environment(server, monkeypatch):
    monkeypatch.setenv("FLEETFIT_SERVER", "127.0.0.1:1")
    monkeypatch.setenv("FLEETFIT_TOKEN", "ffo_another")
    with Client.connect(data_dir=server.data_dir) as client:
        assert client.server_info().version == "0.1.0"


def test_without_a_server_the_hint_says_how_to_start_one(tmp_path):
    with pytest.raises(UnavailableError) as caught:
        Client.connect(data_dir=tmp_path)
    assert "fleetfit up" in caught.value.hint


def test_what_a_killed_server_left_behind_is_no_server(server, tmp_path):
    stale = tmp_path / "stale"
    stale.mkdir()
    (stale / "endpoint.json").write_text((server.data_dir / "endpoint.json").read_text())
    (stale / "lock").touch()
    with pytest.raises(UnavailableError, match="no orchestrator runs in"):
        Client.connect(data_dir=stale)


def test_a_server_elsewhere_needs_its_authority(tmp_path, monkeypatch):
    monkeypatch.setenv("FLEETFIT_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("FLEETFIT_CA", raising=False)
    with pytest.raises(InvalidInputError) as caught:
        Client.connect("fleet.example:7443", TOKEN)
    assert "--ca" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_an_authority_that_is_no_certificate_is_refused(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="authority"):
        Client.connect("fleet.example:7443", TOKEN, path)


def test_a_missing_token_is_an_identity_that_is_missing(server):
    (server.data_dir / "operator-token").unlink()
    with pytest.raises(UnauthenticatedError, match="operator-token"):
        Client.connect(data_dir=server.data_dir)


@pytest.mark.parametrize("address", ["fleet.example", "fleet.example:", "fleet.example:port"])
def test_an_address_without_a_port_is_refused(server, address):
    with pytest.raises(InvalidInputError, match="HOST:PORT"):
        Client.connect(address, TOKEN, server.ca_path)


def test_an_address_to_listen_on_is_dialled_on_this_machine(server):
    port = server.address.rpartition(":")[2]
    with Client.connect(f"0.0.0.0:{port}", TOKEN, server.ca_path) as client:
        assert client.server_info().version == "0.1.0"


def test_a_wrong_token_is_refused_by_the_server(server):
    with (
        Client.connect(server.address, "ffo_another", server.ca_path) as client,
        pytest.raises(UnauthenticatedError, match="not known"),
    ):
        client.list_devices()


def test_a_server_that_does_not_answer_is_unavailable(server):
    with (
        Client.connect("127.0.0.1:1", TOKEN, server.ca_path) as client,
        pytest.raises(UnavailableError, match="no orchestrator answers at"),
    ):
        client.server_info()


def test_something_that_is_no_orchestrator_is_called_so(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_in_plain_text, args=(listener,))
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with Client.connect(address, TOKEN, server.ca_path) as client, pytest.raises(UnavailableError) as caught:
            client.server_info()
        thread.join()
    assert "no orchestrator" in caught.value.message


def _answer_in_plain_text(listener: socket.socket) -> None:
    connection_, _ = listener.accept()
    with connection_:
        connection_.recv(4096)
        connection_.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_certificate_of_another_authority_is_refused(server, tmp_path):
    with fake_server(tmp_path / "other") as other:
        client = Client.connect(server.address, TOKEN, other.ca_path)
    with client, pytest.raises(UnavailableError) as caught:
        client.server_info()
    assert caught.value.reason == "AUTHORITY_MISMATCH"


def _classes(kind: type[FleetfitError]) -> list[type[FleetfitError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _classes(child))]


def test_every_class_of_the_error_tree_comes_back_as_itself(client, server):
    kinds = [kind for kind in _classes(FleetfitError)[1:] if kind.__module__ == errors.__name__]
    assert len(kinds) > 10
    for kind in kinds:
        server.script.error = kind("why it is so: ünicode", hint="do that")
        with pytest.raises(FleetfitError) as caught:
            client.list_devices()
        assert type(caught.value) is kind
        assert (caught.value.message, caught.value.hint) == ("why it is so: ünicode", "do that")


def test_a_finer_reason_keeps_the_class_of_its_status(client, server):
    server.script.error = InvalidInputError("20 has no unit", reason="UNIT_MISSING")
    with pytest.raises(InvalidInputError) as caught:
        client.list_devices()
    assert caught.value.reason == "UNIT_MISSING"


def test_devices_come_with_their_facts(client):
    (device,) = client.list_devices()
    assert (device.name, device.online, device.activity) == ("my-pi", True, "idle")
    assert device.facts.runtimes[0].name == "onnxruntime"
    assert device.facts.meters[0].provenance is Provenance.MEASURED
    assert device.active_release is None
    assert device.enrolled_at == STARTED


def test_labels_are_set_and_removed(client):
    assert client.label_device("my-pi", {"owner": "ada"}, remove=["room"]).labels == {"owner": "ada"}


def test_a_removed_device_is_gone(client):
    client.remove_device("my-pi")
    with pytest.raises(NotFoundError):
        client.get_device("my-pi")


def test_a_join_token_gives_the_line_for_the_device(client, server):
    made = client.create_join_token(time_to_live=timedelta(hours=1), maximum_uses=2, labels={"room": "lab"})
    assert made.command == "fleetfit-agent join 127.0.0.1:7443 --token ffj_secret --ca-hash sha256:ab12"
    assert "ffj_secret" not in repr(made)
    (request,) = server.script.received["CreateJoinToken"]
    assert request.time_to_live.seconds == 3600
    assert client.list_join_tokens() == (made.token,)
    assert client.revoke_join_token(made.token.id).revoked


def test_a_search_is_sent_with_the_bytes_of_its_workload(client, server, tmp_path):
    a_finished_search(server.script)
    workload = tmp_path / "digits.py"
    workload.write_bytes(b"class Digits: ...\n")
    assert client.create_search(workload, SPEC).name == "digits"
    (request,) = server.script.received["CreateSearch"]
    assert (request.workload_filename, request.workload_source) == ("digits.py", b"class Digits: ...\n")
    assert json.loads(request.spec_json) == SPEC
    assert request.idempotency_key


def test_a_spec_that_makes_no_sense_is_not_sent(client, server, tmp_path):
    with pytest.raises(InvalidInputError, match="budgets"):
        client.create_search(tmp_path / "digits.py", {**SPEC, "budgets": {"latency_p95": "20"}})
    assert "CreateSearch" not in server.script.received


def test_a_workload_that_is_not_there_is_invalid_input(client, tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be read"):
        client.create_search(tmp_path / "none.py", SPEC)


def test_a_watch_yields_each_snapshot_until_the_end(client, server):
    a_finished_search(server.script)
    seen = list(client.watch_search("digits"))
    assert [search.state for search in seen] == [SearchState.RUNNING, SearchState.RUNNING, SearchState.SUCCEEDED]
    assert seen[1].trial(1).state is TrialState.TRAINING
    best = seen[-1].best
    assert best is not None
    assert best.measurements["my-pi"].latency.p95_ms.value == pytest.approx(1.0)
    assert best.measurements["my-pi"].energy.provenance is Provenance.ESTIMATED
    assert seen[-1].baseline.number == 0


def test_waiting_returns_the_search_that_ended(client, server):
    a_finished_search(server.script)
    assert client.wait_for_search("digits").best.title == "structured_prune 0.1"


def test_a_watch_goes_on_when_the_server_comes_back(client, server, monkeypatch):
    monkeypatch.setattr(client_module, "_RECONNECT_PAUSE_S", 0.0)
    a_finished_search(server.script)
    server.script.snapshots.insert(1, UnavailableError("the orchestrator stops"))
    assert [search.state for search in client.watch_search("digits")][-1] is SearchState.SUCCEEDED
    assert len(server.script.received["WatchSearch"]) == 2


def test_a_watch_that_never_got_an_answer_does_not_wait_for_one(client, server):
    a_finished_search(server.script)
    server.script.snapshots.insert(0, UnavailableError("the orchestrator stops"))
    with pytest.raises(UnavailableError):
        list(client.watch_search("digits"))


def test_a_watch_with_a_deadline_ends_with_it(client, server):
    server.script.searches = [a_search(searches_pb2.SEARCH_STATE_RUNNING)]
    server.script.snapshots = [searches_pb2.WatchSearchResponse(search=server.script.searches[0])]
    with pytest.raises(DeadlineError):
        client.wait_for_search("digits", timeout_s=0.0)


def test_a_download_is_held_against_its_hash(client, server):
    a_finished_search(server.script)
    server.script.artifact_sha256 = hashlib.sha256(server.script.artifact).hexdigest()
    artifact = client.download_artifact("digits")
    assert (artifact.data, artifact.size_bytes, artifact.format) == (b"artifact", 8, "onnx")


def test_a_damaged_download_is_refused(client, server):
    server.script.artifact_sha256 = "00" * 32
    with pytest.raises(OperationError) as caught:
        client.download_artifact("digits")
    assert caught.value.reason == "ARTIFACT_DAMAGED"


def test_the_report_is_text(client, server):
    a_finished_search(server.script)
    assert client.search_report("digits").startswith("<!doctype html>")


def test_a_release_is_found_by_its_title(client, server):
    server.script.releases = [a_release()]
    assert client.get_release("digits:1").artifact_size_bytes == 20_000
    assert client.create_release("digits").title == "digits:2"
    assert [release.title for release in client.list_releases()] == ["digits:1", "digits:2"]


def test_a_rollout_is_followed_to_its_end(client, server):
    running = a_rollout(1, session_pb2.DEPLOYMENT_STATE_TESTING)
    ended = a_rollout(2, session_pb2.DEPLOYMENT_STATE_ACTIVE)
    server.script.rollouts = [ended]
    server.script.rollout_snapshots = [running, ended]
    started = client.create_rollout("digits:1", selector="my-pi")
    assert client.wait_for_rollout(started.id).state is RolloutState.SUCCEEDED
    assert client.list_rollouts() == (client.get_rollout("ro-1"),)


def test_a_state_of_a_newer_server_is_named_not_guessed(client, server):
    server.script.searches = [a_search(77)]
    with pytest.raises(OperationError) as caught:
        client.list_searches()
    assert caught.value.reason == "VERSION_SKEW"


def test_a_figure_whose_source_is_not_told_does_not_pass_for_measured(client, server):
    a_finished_search(server.script)
    server.script.trials[1].measurements["my-pi"].energy.provenance = 0
    measurement = client.get_search("digits").best.measurements["my-pi"]
    assert measurement.energy.provenance is Provenance.ESTIMATED


class _RpcError(grpc.RpcError):
    def __init__(self, status: grpc.StatusCode, details: str = "") -> None:
        self._status, self._details = status, details

    def code(self):
        return self._status

    def details(self):
        return self._details

    def trailing_metadata(self):
        return ()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, OperationError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineError),
        (grpc.StatusCode.CANCELLED, UnavailableError),
        (grpc.StatusCode.ALREADY_EXISTS, ConflictError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, OperationError),
        (grpc.StatusCode.UNKNOWN, OperationError),
    ],
)
def test_what_grpc_itself_says_has_a_class_too(server: FakeServer, status, kind):
    with Client.connect(data_dir=server.data_dir) as client:
        endpoint = client._connection.endpoint
    translated = connection.translated(_RpcError(status), endpoint)
    assert type(translated) is kind
    assert translated.message


def test_the_client_imports_neither_ray_nor_torch_nor_a_database(tmp_path: Path):
    import subprocess
    import sys

    program = "import sys, orchestrator.client; print(sorted({'ray', 'torch', 'sqlalchemy'} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
