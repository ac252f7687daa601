"""A server that speaks the public services over real TLS, from a script: for tests of the client and the CLI."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fleetfit.v1 import (
    api_tokens_pb2,
    api_tokens_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    device_facts_pb2,
    devices_pb2,
    devices_pb2_grpc,
    join_tokens_pb2,
    join_tokens_pb2_grpc,
    measurement_pb2,
    releases_pb2,
    releases_pb2_grpc,
    rollouts_pb2,
    rollouts_pb2_grpc,
    searches_pb2,
    searches_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    session_pb2,
)
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.api.error_table import status_of, trailing_metadata
from orchestrator.config import Layout
from orchestrator.data_directory import DataDirectory, Endpoints
from orchestrator.errors import FleetfitError, NotFoundError, UnauthenticatedError

TOKEN = "ffo_operator"
STARTED = datetime.datetime(2026, 11, 24, 8, 0, tzinfo=datetime.timezone.utc)


def timestamp(seconds: float = 0.0) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(STARTED + datetime.timedelta(seconds=seconds))
    return made


@dataclass
class Script:
    """What the server has and does; tests change it."""

    devices: list[devices_pb2.Device] = field(default_factory=list)
    tokens: list[join_tokens_pb2.JoinToken] = field(default_factory=list)
    searches: list[searches_pb2.Search] = field(default_factory=list)
    trials: list[searches_pb2.Trial] = field(default_factory=list)
    # What a watch of a search yields; an exception in it ends the stream with that error.
    snapshots: list[searches_pb2.WatchSearchResponse | FleetfitError] = field(default_factory=list)
    releases: list[releases_pb2.Release] = field(default_factory=list)
    rollouts: list[rollouts_pb2.Rollout] = field(default_factory=list)
    rollout_snapshots: list[rollouts_pb2.Rollout] = field(default_factory=list)
    audit_entries: list[audit_pb2.AuditEntry] = field(default_factory=list)
    audit_first_broken: int = 0
    artifact: bytes = b"artifact"
    artifact_sha256: str = ""
    # Raised by the next call of any method but GetServerInfo.
    error: FleetfitError | None = None
    # Requests as they came, by the method's name.
    received: dict[str, list[Any]] = field(default_factory=dict)


@dataclass
class FakeServer:
    """One running server and the data directory in which the CLI finds it."""

    script: Script
    data_dir: Path
    address: str
    ca_path: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"FLEETFIT_DATA_DIR": str(self.data_dir)}


@contextmanager
def fake_server(folder: Path, script: Script | None = None) -> Iterator[FakeServer]:
    """A server in this process, on a free port, until the block is left."""
    script = script or Script()
    layout = Layout(root=folder)
    key, certificate, ca = _certificates()
    server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    service = _Services(script)
    api_tokens_pb2_grpc.add_ApiTokenServiceServicer_to_server(service, server)
    audit_pb2_grpc.add_AuditServiceServicer_to_server(service, server)
    devices_pb2_grpc.add_DeviceServiceServicer_to_server(service, server)
    join_tokens_pb2_grpc.add_JoinTokenServiceServicer_to_server(service, server)
    releases_pb2_grpc.add_ReleaseServiceServicer_to_server(service, server)
    rollouts_pb2_grpc.add_RolloutServiceServicer_to_server(service, server)
    searches_pb2_grpc.add_SearchServiceServicer_to_server(service, server)
    server_pb2_grpc.add_ServerServiceServicer_to_server(service, server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    address = f"127.0.0.1:{port}"
    with DataDirectory(layout) as directory:
        layout.authority.mkdir(parents=True, exist_ok=True)
        layout.ca_certificate.write_bytes(ca)
        layout.operator_token.write_text(f"{TOKEN}\n")
        server.start()
        directory.announce(
            Endpoints(public_address=address, device_address=address, ca_path=str(layout.ca_certificate), pid=1)
        )
        try:
            yield FakeServer(script=script, data_dir=folder, address=address, ca_path=layout.ca_certificate)
        finally:
            server.stop(None).wait()


class _Services(
    api_tokens_pb2_grpc.ApiTokenServiceServicer,
    audit_pb2_grpc.AuditServiceServicer,
    devices_pb2_grpc.DeviceServiceServicer,
    join_tokens_pb2_grpc.JoinTokenServiceServicer,
    releases_pb2_grpc.ReleaseServiceServicer,
    rollouts_pb2_grpc.RolloutServiceServicer,
    searches_pb2_grpc.SearchServiceServicer,
    server_pb2_grpc.ServerServiceServicer,
):
    def __init__(self, script: Script) -> None:
        self.script = script

    def GetServerInfo(self, request: Any, context: grpc.ServicerContext) -> server_pb2.GetServerInfoResponse:
        self._enter("GetServerInfo", request, context)
        return server_pb2.GetServerInfoResponse(
            version="0.1.0",
            public_address="127.0.0.1:7443",
            device_address="127.0.0.1:7444",
            ca_hash="sha256:ab12",
            role="admin",
            devices_online=sum(device.online for device in self.script.devices),
        )

    def ListDevices(self, request: Any, context: grpc.ServicerContext) -> devices_pb2.ListDevicesResponse:
        self._enter("ListDevices", request, context)
        if request.selector in ("", "all"):
            return devices_pb2.ListDevicesResponse(devices=self.script.devices)
        found = [device for device in self.script.devices if request.selector == device.name]
        if not found:
            self._abort(context, _not_found(f"'{request.selector}' is not the name of a device"))
        return devices_pb2.ListDevicesResponse(devices=found)

    def GetDevice(self, request: Any, context: grpc.ServicerContext) -> devices_pb2.GetDeviceResponse:
        self._enter("GetDevice", request, context)
        return devices_pb2.GetDeviceResponse(device=self._device(request.device, context))

    def LabelDevice(self, request: Any, context: grpc.ServicerContext) -> devices_pb2.LabelDeviceResponse:
        self._enter("LabelDevice", request, context)
        device = self._device(request.device, context)
        for key in request.remove:
            device.labels.pop(key, None)
        device.labels.update(request.set)
        return devices_pb2.LabelDeviceResponse(device=device)

    def RemoveDevice(self, request: Any, context: grpc.ServicerContext) -> devices_pb2.RemoveDeviceResponse:
        self._enter("RemoveDevice", request, context)
        self.script.devices.remove(self._device(request.device, context))
        return devices_pb2.RemoveDeviceResponse()

    def CreateJoinToken(self, request: Any, context: grpc.ServicerContext) -> join_tokens_pb2.CreateJoinTokenResponse:
        self._enter("CreateJoinToken", request, context)
        token = join_tokens_pb2.JoinToken(
            id=f"jt-{len(self.script.tokens) + 1}",
            created_at=timestamp(),
            expires_at=timestamp(request.time_to_live.seconds or 900),
            maximum_uses=request.maximum_uses,
            labels=request.labels,
        )
        self.script.tokens.append(token)
        return join_tokens_pb2.CreateJoinTokenResponse(
            token=token, secret="ffj_secret", ca_hash="sha256:ab12", address="127.0.0.1:7443"
        )

    def ListJoinTokens(self, request: Any, context: grpc.ServicerContext) -> join_tokens_pb2.ListJoinTokensResponse:
        self._enter("ListJoinTokens", request, context)
        return join_tokens_pb2.ListJoinTokensResponse(tokens=self.script.tokens)

    def RevokeJoinToken(self, request: Any, context: grpc.ServicerContext) -> join_tokens_pb2.RevokeJoinTokenResponse:
        self._enter("RevokeJoinToken", request, context)
        for token in self.script.tokens:
            if token.id == request.id:
                token.revoked = True
                return join_tokens_pb2.RevokeJoinTokenResponse(token=token)
        self._abort(context, _not_found(f"there is no join token '{request.id}'"))

    def CreateSearch(self, request: Any, context: grpc.ServicerContext) -> searches_pb2.CreateSearchResponse:
        self._enter("CreateSearch", request, context)
        return searches_pb2.CreateSearchResponse(search=self.script.searches[0])

    def ListSearches(self, request: Any, context: grpc.ServicerContext) -> searches_pb2.ListSearchesResponse:
        self._enter("ListSearches", request, context)
        return searches_pb2.ListSearchesResponse(searches=self.script.searches)

    def GetSearch(self, request: Any, context: grpc.ServicerContext) -> searches_pb2.GetSearchResponse:
        self._enter("GetSearch", request, context)
        search = self._search(request.search, context)
        return searches_pb2.GetSearchResponse(search=search, trials=self.script.trials)

    def WatchSearch(self, request: Any, context: grpc.ServicerContext) -> Iterator[searches_pb2.WatchSearchResponse]:
        self._enter("WatchSearch", request, context)
        self._search(request.search, context)
        while self.script.snapshots:
            snapshot = self.script.snapshots.pop(0)
            if isinstance(snapshot, FleetfitError):
                self._abort(context, snapshot)
            yield snapshot

    def CancelSearch(self, request: Any, context: grpc.ServicerContext) -> searches_pb2.CancelSearchResponse:
        self._enter("CancelSearch", request, context)
        search = self._search(request.search, context)
        search.state = searches_pb2.SEARCH_STATE_CANCELLED
        return searches_pb2.CancelSearchResponse(search=search)

    def GetSearchReport(self, request: Any, context: grpc.ServicerContext) -> searches_pb2.GetSearchReportResponse:
        self._enter("GetSearchReport", request, context)
        self._search(request.search, context)
        return searches_pb2.GetSearchReportResponse(html=b"<!doctype html><title>report</title>")

    def DownloadTrialArtifact(
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[searches_pb2.DownloadTrialArtifactResponse]:
        self._enter("DownloadTrialArtifact", request, context)
        data = self.script.artifact
        yield searches_pb2.DownloadTrialArtifactResponse(
            data=data[:3], sha256=self.script.artifact_sha256, size_bytes=len(data), format="onnx"
        )
        yield searches_pb2.DownloadTrialArtifactResponse(data=data[3:])

    def CreateRelease(self, request: Any, context: grpc.ServicerContext) -> releases_pb2.CreateReleaseResponse:
        self._enter("CreateRelease", request, context)
        release = a_release(version=request.version or str(len(self.script.releases) + 1))
        self.script.releases.append(release)
        return releases_pb2.CreateReleaseResponse(release=release)

    def ListReleases(self, request: Any, context: grpc.ServicerContext) -> releases_pb2.ListReleasesResponse:
        self._enter("ListReleases", request, context)
        return releases_pb2.ListReleasesResponse(releases=self.script.releases)

    def GetRelease(self, request: Any, context: grpc.ServicerContext) -> releases_pb2.GetReleaseResponse:
        self._enter("GetRelease", request, context)
        for release in self.script.releases:
            if request.release in (release.id, f"{release.name}:{release.version}"):
                return releases_pb2.GetReleaseResponse(release=release)
        self._abort(context, _not_found(f"there is no release '{request.release}'"))

    def CreateApiToken(self, request: Any, context: grpc.ServicerContext) -> api_tokens_pb2.CreateApiTokenResponse:
        self._enter("CreateApiToken", request, context)
        return api_tokens_pb2.CreateApiTokenResponse(token=_api_token(request), secret="ffo1.id.secret")

    def ListApiTokens(self, request: Any, context: grpc.ServicerContext) -> api_tokens_pb2.ListApiTokensResponse:
        self._enter("ListApiTokens", request, context)
        made = self.script.received.get("CreateApiToken", [])
        return api_tokens_pb2.ListApiTokensResponse(tokens=[_api_token(each) for each in made])

    def RevokeApiToken(self, request: Any, context: grpc.ServicerContext) -> api_tokens_pb2.RevokeApiTokenResponse:
        self._enter("RevokeApiToken", request, context)
        token = api_tokens_pb2.ApiToken(id=request.id, name="ci", role="operator", revoked=True)
        return api_tokens_pb2.RevokeApiTokenResponse(token=token)

    def ListAuditEntries(self, request: Any, context: grpc.ServicerContext) -> audit_pb2.ListAuditEntriesResponse:
        self._enter("ListAuditEntries", request, context)
        return audit_pb2.ListAuditEntriesResponse(entries=self.script.audit_entries)

    def VerifyAuditLog(self, request: Any, context: grpc.ServicerContext) -> audit_pb2.VerifyAuditLogResponse:
        self._enter("VerifyAuditLog", request, context)
        return audit_pb2.VerifyAuditLogResponse(
            entries=len(self.script.audit_entries), first_broken=self.script.audit_first_broken, last_hash="ab" * 32
        )

    def CreateRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.CreateRolloutResponse:
        self._enter("CreateRollout", request, context)
        return rollouts_pb2.CreateRolloutResponse(rollout=self.script.rollouts[0])

    def ListRollouts(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.ListRolloutsResponse:
        self._enter("ListRollouts", request, context)
        return rollouts_pb2.ListRolloutsResponse(rollouts=self.script.rollouts)

    def GetRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.GetRolloutResponse:
        self._enter("GetRollout", request, context)
        for rollout in self.script.rollouts:
            if rollout.id == request.rollout:
                return rollouts_pb2.GetRolloutResponse(rollout=rollout)
        self._abort(context, _not_found(f"there is no rollout '{request.rollout}'"))

    def PauseRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.PauseRolloutResponse:
        self._enter("PauseRollout", request, context)
        return rollouts_pb2.PauseRolloutResponse(rollout=self.script.rollouts[0])

    def ResumeRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.ResumeRolloutResponse:
        self._enter("ResumeRollout", request, context)
        return rollouts_pb2.ResumeRolloutResponse(rollout=self.script.rollouts[0])

    def AbortRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.AbortRolloutResponse:
        self._enter("AbortRollout", request, context)
        return rollouts_pb2.AbortRolloutResponse(rollout=self.script.rollouts[0])

    def RetryRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.RetryRolloutResponse:
        self._enter("RetryRollout", request, context)
        return rollouts_pb2.RetryRolloutResponse(rollout=self.script.rollouts[0])

    def RollBackRollout(self, request: Any, context: grpc.ServicerContext) -> rollouts_pb2.RollBackRolloutResponse:
        self._enter("RollBackRollout", request, context)
        return rollouts_pb2.RollBackRolloutResponse(rollouts=self.script.rollouts)

    def WatchRollout(self, request: Any, context: grpc.ServicerContext) -> Iterator[rollouts_pb2.WatchRolloutResponse]:
        self._enter("WatchRollout", request, context)
        for rollout in self.script.rollout_snapshots:
            yield rollouts_pb2.WatchRolloutResponse(rollout=rollout)

    def _enter(self, method: str, request: Any, context: grpc.ServicerContext) -> None:
        """Keeps the request, and refuses what a real server would refuse first."""
        self.script.received.setdefault(method, []).append(request)
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {TOKEN}":
            self._abort(context, UnauthenticatedError("this API token is not known", hint="use one that is"))
        error, self.script.error = self.script.error, None
        if error is not None:
            self._abort(context, error)

    def _abort(self, context: grpc.ServicerContext, error: FleetfitError) -> Any:
        context.set_trailing_metadata(trailing_metadata(error, "request-1"))
        context.abort(status_of(error), error.message)

    def _device(self, name: str, context: grpc.ServicerContext) -> devices_pb2.Device:
        for device in self.script.devices:
            if name in (device.id, device.name):
                return device
        return self._abort(context, _not_found(f"there is no device '{name}'"))

    def _search(self, name: str, context: grpc.ServicerContext) -> searches_pb2.Search:
        for search in self.script.searches:
            if name in (search.id, search.name):
                return search
        return self._abort(context, _not_found(f"there is no search '{name}'"))


def a_device(name: str = "my-pi", **changes: Any) -> devices_pb2.Device:
    facts = device_facts_pb2.DeviceFacts(
        hostname=name,
        architecture="aarch64",
        board="Raspberry Pi 5 Model B Rev 1.0",
        cpu_model="Cortex-A76",
        instruction_sets=["asimddp"],
        cpu_count=4,
        memory_bytes=8_000_000_000,
        operating_system="Linux 6.12, Debian GNU/Linux 12",
        python_version="3.11.2",
        agent_version="0.1.0",
        runtimes=[device_facts_pb2.RuntimeFacts(name="onnxruntime", version="1.32.0", formats=["onnx"])],
        meters=[
            device_facts_pb2.MeterFacts(name="pmic", provenance=device_facts_pb2.PROVENANCE_MEASURED, scope="board")
        ],
        host_id="host-1",
    )
    fields = {
        "id": f"d-{name}", "name": name, "device_class": "raspberry-pi-5-ab12", "online": True, "facts": facts,
        "labels": {"room": "lab"}, "enrolled_at": timestamp(), "last_seen_at": timestamp(60), "activity": "idle",
    }  # fmt: skip
    return devices_pb2.Device(**{**fields, **changes})


def a_measurement(p95_ms: float, *, provenance: int = device_facts_pb2.PROVENANCE_ESTIMATED) -> Any:
    return measurement_pb2.Measurement(
        result_id=f"m-{p95_ms}",
        outcome=measurement_pb2.OUTCOME_OK,
        latency=measurement_pb2.Latency(
            p50_ms=measurement_pb2.Figure(value=p95_ms * 0.8),
            p95_ms=measurement_pb2.Figure(value=p95_ms, lower=p95_ms * 0.9, upper=p95_ms * 1.1),
            mean_ms=p95_ms * 0.8,
            sample_count=400,
            steady_state=True,
            quality=measurement_pb2.QUALITY_HIGH,
        ),
        energy=measurement_pb2.Energy(net_mj=p95_ms * 2, meter="estimate", provenance=provenance, scope="model"),
        memory=measurement_pb2.Memory(peak_bytes=40_000_000, provenance=device_facts_pb2.PROVENANCE_MEASURED),
        measured_at=timestamp(30),
    )


def _api_token(request: api_tokens_pb2.CreateApiTokenRequest) -> api_tokens_pb2.ApiToken:
    return api_tokens_pb2.ApiToken(id="at-1", name=request.name, role=request.role, created_at=timestamp())


def a_trial(number: int, state: int, **changes: Any) -> searches_pb2.Trial:
    fields = {
        "id": f"t-{number}", "number": number, "title": "baseline" if number == 0 else f"structured_prune 0.{number}",
        "recipe_json": "{}", "state": state,
    }  # fmt: skip
    return searches_pb2.Trial(**{**fields, **changes})


def a_search(state: int, **changes: Any) -> searches_pb2.Search:
    fields = {
        "id": "s-1", "name": "digits", "state": state, "devices": ["my-pi"], "workload_filename": "digits.py",
        "metric_name": "accuracy", "budgets": searches_pb2.Budgets(latency_p95_ms=2.0, accuracy_drop=0.01),
        "baseline_trial_id": "t-0", "created_at": timestamp(), "trainings": 3, "measurements": 5,
    }  # fmt: skip
    return searches_pb2.Search(**{**fields, **changes})


def a_release(name: str = "digits", version: str = "1") -> releases_pb2.Release:
    return releases_pb2.Release(
        id=f"r-{version}", name=name, version=version, counter=int(version) if version.isdigit() else 1,
        manifest_path=f"targets/{name}-{version}.json", manifest_sha256="cd" * 32, manifest_json='{"name": "digits"}',
        artifact_sha256="ab" * 32, artifact_size_bytes=20_000, format="onnx", search_id="s-1", trial_id="t-1",
        created_at=timestamp(),
    )  # fmt: skip


def a_rollout(state: int, deployment: int, reason: str = "") -> rollouts_pb2.Rollout:
    return rollouts_pb2.Rollout(
        id="ro-1", release_id="r-1", release="digits:1", selector="my-pi", state=state, created_at=timestamp(),
        deployments=[
            rollouts_pb2.Deployment(
                id="dp-1", device_id="d-my-pi", device="my-pi", state=deployment, reason=reason, updated_at=timestamp(5)
            )
        ],
    )  # fmt: skip


def a_finished_search(script: Script, *, feasible: bool = True) -> None:
    """Fills the script with a search that runs in three steps and ends, with a winner or without one."""
    running = a_search(searches_pb2.SEARCH_STATE_RUNNING)
    baseline = a_trial(
        0, searches_pb2.TRIAL_STATE_INFEASIBLE, size_bytes=120_000, accuracy=0.975,
        measurements={"my-pi": a_measurement(4.0)}, reason="latency p95 is over its budget",
        verdicts=[_verdict("latency_p95_ms", 2.0, 4.4, "my-pi"), _verdict("accuracy", 0.965, 0.975)],
    )  # fmt: skip
    p95 = 1.0 if feasible else 2.5
    trained = a_trial(
        1, searches_pb2.TRIAL_STATE_FEASIBLE if feasible else searches_pb2.TRIAL_STATE_INFEASIBLE,
        size_bytes=20_000, accuracy=0.97, measurements={"my-pi": a_measurement(p95)},
        verdicts=[_verdict("latency_p95_ms", 2.0, p95 * 1.1, "my-pi"), _verdict("accuracy", 0.965, 0.97)],
    )  # fmt: skip
    training = a_trial(1, searches_pb2.TRIAL_STATE_TRAINING, size_bytes=20_000, progress="epoch 3 of 8")
    ended = a_search(
        searches_pb2.SEARCH_STATE_SUCCEEDED if feasible else searches_pb2.SEARCH_STATE_INFEASIBLE,
        best_trial_id="t-1" if feasible else "", closest_trial_id="" if feasible else "t-1",
        finished_at=timestamp(90),
    )  # fmt: skip
    script.searches = [ended]
    script.trials = [baseline, trained]
    script.snapshots = [
        searches_pb2.WatchSearchResponse(search=running, trials=[a_trial(0, searches_pb2.TRIAL_STATE_BUILDING)]),
        searches_pb2.WatchSearchResponse(search=running, trials=[baseline, training]),
        searches_pb2.WatchSearchResponse(search=ended, trials=[baseline, trained]),
    ]


def _verdict(budget: str, limit: float, value: float, device: str = "") -> searches_pb2.BudgetVerdict:
    held = value >= limit if budget == "accuracy" else value <= limit
    return searches_pb2.BudgetVerdict(budget=budget, limit=limit, value=value, held=held, device=device)


def _not_found(message: str) -> NotFoundError:
    return NotFoundError(message, hint="list what there is")


def _certificates() -> tuple[bytes, bytes, bytes]:
    """Key and certificate of a server, and the certificate of the authority that signed it; PEM."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"test authority {x509.random_serial_number()}")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "orchestrator")])
    names = [x509.DNSName("orchestrator.fleetfit.internal"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    authority = _certificate(issuer, issuer, authority_key.public_key(), authority_key, authority=True)
    certificate = _certificate(subject, issuer, key.public_key(), authority_key, names=names)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return secret, certificate.public_bytes(pem), authority.public_bytes(pem)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Any, signer: Any, *, authority: bool = False, names: Any = ()
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


__all__ = [
    "STARTED", "TOKEN", "FakeServer", "Script", "a_device", "a_finished_search", "a_measurement", "a_release",
    "a_rollout", "a_search", "a_trial", "fake_server", "session_pb2", "timestamp",
]  # fmt: skip
