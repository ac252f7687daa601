"""The Python client of an orchestrator."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from fleetfit.v1 import (
    api_tokens_pb2,
    api_tokens_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    devices_pb2,
    devices_pb2_grpc,
    join_tokens_pb2,
    join_tokens_pb2_grpc,
    releases_pb2,
    releases_pb2_grpc,
    rollouts_pb2,
    rollouts_pb2_grpc,
    searches_pb2,
    searches_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
)

from orchestrator.client import convert
from orchestrator.client.connection import Connection
from orchestrator.client.endpoint import find_endpoint
from orchestrator.client.records import (
    ApiToken,
    AuditEntry,
    AuditVerdict,
    Device,
    DownloadedArtifact,
    JoinToken,
    NewApiToken,
    NewJoinToken,
    Rollout,
    Search,
    ServerInfo,
)
from orchestrator.errors import InvalidInputError, OperationError, UnavailableError
from orchestrator.fleet.api_token import Role
from orchestrator.releases.release import Release
from orchestrator.rollouts.plan import Plan
from orchestrator.search.spec import SearchSpec, parse_search_spec

# How long a watch goes on dialling a server that went away: it may be starting again.
_RECONNECT_S = 60.0
_RECONNECT_PAUSE_S = 0.5


class Client:
    """Speaks to one orchestrator; a context manager.

    ::

        with Client.connect() as client:
            search = client.create_search("digits.py", {
                "name": "digits", "devices": ["my-pi"], "budgets": {"latency_p95": "20ms", "accuracy_drop": "1%"},
            })
            search = client.wait_for_search(search.id)
            print(search.best.size_bytes, search.best.measurements["my-pi"].latency.p95_ms)
            release = client.create_release(search.id)
            client.wait_for_rollout(client.create_rollout(release.title, selector="my-pi").id)

    Every method raises the :class:`~orchestrator.errors.FleetfitError` that the server raised, and
    :class:`~orchestrator.errors.UnavailableError` where no server answers.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._server = server_pb2_grpc.ServerServiceStub(connection.channel)
        self._devices = devices_pb2_grpc.DeviceServiceStub(connection.channel)
        self._join_tokens = join_tokens_pb2_grpc.JoinTokenServiceStub(connection.channel)
        self._searches = searches_pb2_grpc.SearchServiceStub(connection.channel)
        self._releases = releases_pb2_grpc.ReleaseServiceStub(connection.channel)
        self._rollouts = rollouts_pb2_grpc.RolloutServiceStub(connection.channel)
        self._api_tokens = api_tokens_pb2_grpc.ApiTokenServiceStub(connection.channel)
        self._audit = audit_pb2_grpc.AuditServiceStub(connection.channel)

    @classmethod
    def connect(
        cls,
        address: str | None = None,
        token: str | None = None,
        ca: str | os.PathLike[str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> Client:
        """A client of the orchestrator that is meant.

        Args:
            address: ``host:port``; else ``FLEETFIT_SERVER``, else the local orchestrator.
            token: Of the caller; else ``FLEETFIT_TOKEN``, else the local operator's.
            ca: Path of the certificate authority that the server's certificate must come from; else ``FLEETFIT_CA``,
                else the local one.
            data_dir: Directory of a local orchestrator, taken before the environment; else ``FLEETFIT_DATA_DIR``,
                else the user's data directory.

        Raises:
            UnavailableError: Nothing names a server.
            UnauthenticatedError: There is no token.
            InvalidInputError: What was given cannot be used.
        """
        return cls(Connection(find_endpoint(address=address, token=token, ca=ca, data_dir=data_dir)))

    @property
    def address(self) -> str:
        """``host:port`` that is dialled."""
        return self._connection.endpoint.address

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def server_info(self) -> ServerInfo:
        """What the server is, and who the caller is to it."""
        request = server_pb2.GetServerInfoRequest()
        return convert.server_info(self._connection.call(self._server.GetServerInfo, request))

    # Devices

    def list_devices(self, selector: str = "") -> tuple[Device, ...]:
        """The devices that ``selector`` names: ``label=value``, ``class=…``, ``name=glob*``, joined by commas."""
        request = devices_pb2.ListDevicesRequest(selector=selector)
        response = self._connection.call(self._devices.ListDevices, request)
        return tuple(convert.device(each) for each in response.devices)

    def get_device(self, device: str) -> Device:
        """The device of that name or id."""
        request = devices_pb2.GetDeviceRequest(device=device)
        return convert.device(self._connection.call(self._devices.GetDevice, request).device)

    def label_device(self, device: str, labels: Mapping[str, str], *, remove: Sequence[str] = ()) -> Device:
        """The device after ``labels`` were set and those in ``remove`` taken away."""
        request = devices_pb2.LabelDeviceRequest(device=device, set=dict(labels), remove=remove)
        return convert.device(self._connection.call(self._devices.LabelDevice, request).device)

    def remove_device(self, device: str) -> None:
        """Revokes the device's certificate and forgets the device; its measurements stay."""
        self._connection.call(self._devices.RemoveDevice, devices_pb2.RemoveDeviceRequest(device=device))

    # Join tokens

    def create_join_token(
        self,
        *,
        time_to_live: timedelta | None = None,
        maximum_uses: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> NewJoinToken:
        """A token with which devices can join; the server's default life is 15 minutes."""
        request = join_tokens_pb2.CreateJoinTokenRequest(maximum_uses=maximum_uses, labels=dict(labels or {}))
        if time_to_live is not None:
            request.time_to_live.FromTimedelta(time_to_live)
        return convert.new_join_token(self._connection.call(self._join_tokens.CreateJoinToken, request))

    def list_join_tokens(self) -> tuple[JoinToken, ...]:
        """All join tokens, without their secrets."""
        response = self._connection.call(self._join_tokens.ListJoinTokens, join_tokens_pb2.ListJoinTokensRequest())
        return tuple(convert.join_token(each) for each in response.tokens)

    def revoke_join_token(self, token_id: str) -> JoinToken:
        """The token, with which no device can join from now on."""
        request = join_tokens_pb2.RevokeJoinTokenRequest(id=token_id)
        return convert.join_token(self._connection.call(self._join_tokens.RevokeJoinToken, request).token)

    # Searches

    def create_search(
        self, workload: str | os.PathLike[str], spec: SearchSpec | dict[str, Any], *, source: bytes | None = None
    ) -> Search:
        """Starts a search.

        Args:
            workload: Path of the workload's Python file.
            spec: What to look for, as in the YAML file without its ``workload``.
            source: The workload's bytes, where they are not to be read from its path.

        Raises:
            InvalidInputError: The workload cannot be read, or the spec is not one.
        """
        parsed = spec if isinstance(spec, SearchSpec) else parse_search_spec(spec)
        path = Path(workload)
        try:
            content = path.read_bytes() if source is None else source
        except OSError as error:
            raise InvalidInputError(f"the workload {path} cannot be read: {error.strerror}") from error
        request = searches_pb2.CreateSearchRequest(
            workload_filename=path.name,
            workload_source=content,
            spec_json=parsed.model_dump_json(exclude_defaults=True),
            idempotency_key=uuid.uuid4().hex,
        )
        return convert.search(self._connection.call(self._searches.CreateSearch, request).search)

    def list_searches(self) -> tuple[Search, ...]:
        """All searches, without their trials."""
        response = self._connection.call(self._searches.ListSearches, searches_pb2.ListSearchesRequest())
        return tuple(convert.search(each) for each in response.searches)

    def get_search(self, search: str) -> Search:
        """The search of that id or name, with its trials."""
        response = self._connection.call(self._searches.GetSearch, searches_pb2.GetSearchRequest(search=search))
        return convert.search(response.search, tuple(convert.trial(each) for each in response.trials))

    def watch_search(self, search: str, *, timeout_s: float | None = None) -> Iterator[Search]:
        """Yields the search with its trials now, and again whenever something changed, until it has ended.

        A server that goes away and comes back within a minute does not end the watch.

        Raises:
            DeadlineError: It goes on after ``timeout_s``; it was not stopped.
        """
        request = searches_pb2.WatchSearchRequest(search=search)
        for response in self._watch(self._searches.WatchSearch, request, timeout_s):
            yield convert.search(response.search, tuple(convert.trial(each) for each in response.trials))

    def wait_for_search(self, search: str, *, timeout_s: float | None = None) -> Search:
        """The search after it has ended, however it ended: see its ``state`` and ``best``.

        Raises:
            DeadlineError: It goes on after ``timeout_s``; it was not stopped.
        """
        for seen in self.watch_search(search, timeout_s=timeout_s):
            if seen.state.final:
                return seen
        return self.get_search(search)

    def cancel_search(self, search: str) -> Search:
        """The search, ended; what was found so far stays."""
        response = self._connection.call(self._searches.CancelSearch, searches_pb2.CancelSearchRequest(search=search))
        return convert.search(response.search)

    def search_report(self, search: str) -> str:
        """The search's report: one self-contained HTML page."""
        request = searches_pb2.GetSearchReportRequest(search=search)
        return self._connection.call(self._searches.GetSearchReport, request).html.decode()

    def download_artifact(self, search: str, *, trial_number: int | None = None) -> DownloadedArtifact:
        """The artifact of a trial, where 0 is the baseline; None: of the winner.

        Raises:
            OperationError: The bytes are not the ones that their hash promises.
        """
        request = searches_pb2.DownloadTrialArtifactRequest(search=search, trial_number=trial_number)
        parts = list(self._connection.stream(self._searches.DownloadTrialArtifact, request))
        data = b"".join(part.data for part in parts)
        sha256 = hashlib.sha256(data).hexdigest()
        if not parts or sha256 != parts[0].sha256:
            raise OperationError(
                f"the artifact of search {search} arrived damaged: its hash is {sha256}",
                hint="try again; where it stays so, the artifact store of the server is damaged",
                reason="ARTIFACT_DAMAGED",
            )
        return DownloadedArtifact(data=data, sha256=sha256, format=parts[0].format)

    # Releases and rollouts

    def create_release(
        self, search: str, *, trial_number: int | None = None, name: str = "", version: str = ""
    ) -> Release:
        """A signed release of a trial's artifact.

        Without a number: of the winner's, under the search's name and the next version of that name.
        """
        request = releases_pb2.CreateReleaseRequest(
            search=search, trial_number=trial_number, name=name, version=version
        )
        return convert.release(self._connection.call(self._releases.CreateRelease, request).release)

    def list_releases(self) -> tuple[Release, ...]:
        """All releases."""
        response = self._connection.call(self._releases.ListReleases, releases_pb2.ListReleasesRequest())
        return tuple(convert.release(each) for each in response.releases)

    def get_release(self, release: str) -> Release:
        """The release of that id or ``name:version``."""
        response = self._connection.call(self._releases.GetRelease, releases_pb2.GetReleaseRequest(release=release))
        return convert.release(response.release)

    def create_rollout(self, release: str, *, selector: str, plan: Plan | None = None) -> Rollout:
        """Starts the delivery of a release to the devices that ``selector`` names; ``all`` must be said.

        Args:
            release: Its id or ``name:version``.
            selector: Which devices.
            plan: In which waves, and what a wave must show; None: all devices at once.

        Raises:
            InvalidInputError: The plan makes no sense.
        """
        request = rollouts_pb2.CreateRolloutRequest(
            release=release,
            selector=selector,
            idempotency_key=uuid.uuid4().hex,
            plan=None if plan is None else convert.plan_message(plan.check()),
        )
        return convert.rollout(self._connection.call(self._rollouts.CreateRollout, request).rollout)

    def list_rollouts(self) -> tuple[Rollout, ...]:
        """All rollouts."""
        response = self._connection.call(self._rollouts.ListRollouts, rollouts_pb2.ListRolloutsRequest())
        return tuple(convert.rollout(each) for each in response.rollouts)

    def get_rollout(self, rollout: str) -> Rollout:
        """The rollout of that id."""
        response = self._connection.call(self._rollouts.GetRollout, rollouts_pb2.GetRolloutRequest(rollout=rollout))
        return convert.rollout(response.rollout)

    def pause_rollout(self, rollout: str) -> Rollout:
        """The rollout, which starts nothing more; devices that have begun finish."""
        request = rollouts_pb2.PauseRolloutRequest(rollout=rollout)
        return convert.rollout(self._connection.call(self._rollouts.PauseRollout, request).rollout)

    def resume_rollout(self, rollout: str) -> Rollout:
        """The rollout, which goes on; the failures that had paused it count no more."""
        request = rollouts_pb2.ResumeRolloutRequest(rollout=rollout)
        return convert.rollout(self._connection.call(self._rollouts.ResumeRollout, request).rollout)

    def abort_rollout(self, rollout: str) -> Rollout:
        """The rollout, which ends as soon as the devices that have begun are done."""
        request = rollouts_pb2.AbortRolloutRequest(rollout=rollout)
        return convert.rollout(self._connection.call(self._rollouts.AbortRollout, request).rollout)

    def retry_rollout(self, rollout: str) -> Rollout:
        """A new rollout of the same release to the devices that failed."""
        request = rollouts_pb2.RetryRolloutRequest(rollout=rollout, idempotency_key=uuid.uuid4().hex)
        return convert.rollout(self._connection.call(self._rollouts.RetryRollout, request).rollout)

    def roll_back_rollout(self, rollout: str) -> tuple[Rollout, ...]:
        """New rollouts that take the devices which run the release back to what they ran before."""
        request = rollouts_pb2.RollBackRolloutRequest(rollout=rollout, idempotency_key=uuid.uuid4().hex)
        response = self._connection.call(self._rollouts.RollBackRollout, request)
        return tuple(convert.rollout(each) for each in response.rollouts)

    def watch_rollout(self, rollout: str, *, timeout_s: float | None = None) -> Iterator[Rollout]:
        """Yields the rollout now, and again whenever something changed, until it has ended.

        Raises:
            DeadlineError: It goes on after ``timeout_s``; it was not stopped.
        """
        request = rollouts_pb2.WatchRolloutRequest(rollout=rollout)
        for response in self._watch(self._rollouts.WatchRollout, request, timeout_s):
            yield convert.rollout(response.rollout)

    def wait_for_rollout(self, rollout: str, *, timeout_s: float | None = None) -> Rollout:
        """The rollout after it has ended, however it ended: see its ``state`` and ``deployments``.

        Raises:
            DeadlineError: It goes on after ``timeout_s``; it was not stopped.
        """
        for seen in self.watch_rollout(rollout, timeout_s=timeout_s):
            if seen.state.final:
                return seen
        return self.get_rollout(rollout)

    # API tokens and the audit log

    def create_api_token(self, name: str, *, role: Role, time_to_live: timedelta | None = None) -> NewApiToken:
        """A token for a person or a script; without a life, it lasts until it is revoked."""
        request = api_tokens_pb2.CreateApiTokenRequest(name=name, role=role.value)
        if time_to_live is not None:
            request.time_to_live.FromTimedelta(time_to_live)
        response = self._connection.call(self._api_tokens.CreateApiToken, request)
        return NewApiToken(token=convert.api_token(response.token), secret=response.secret)

    def list_api_tokens(self) -> tuple[ApiToken, ...]:
        """All API tokens, without their secrets."""
        response = self._connection.call(self._api_tokens.ListApiTokens, api_tokens_pb2.ListApiTokensRequest())
        return tuple(convert.api_token(each) for each in response.tokens)

    def revoke_api_token(self, token_id: str) -> ApiToken:
        """The token, with which nobody is let in from now on."""
        request = api_tokens_pb2.RevokeApiTokenRequest(id=token_id)
        return convert.api_token(self._connection.call(self._api_tokens.RevokeApiToken, request).token)

    def list_audit_entries(self, *, limit: int = 100) -> tuple[AuditEntry, ...]:
        """The newest entries of the audit log, oldest first."""
        request = audit_pb2.ListAuditEntriesRequest(limit=limit)
        response = self._connection.call(self._audit.ListAuditEntries, request)
        return tuple(convert.audit_entry(each) for each in response.entries)

    def verify_audit_log(self) -> AuditVerdict:
        """Whether every entry of the audit log is what was recorded, as far as the orchestrator can tell."""
        request = audit_pb2.VerifyAuditLogRequest()
        return convert.audit_verdict(self._connection.call(self._audit.VerifyAuditLog, request))

    def _watch(self, method: Callable[..., Any], request: object, timeout_s: float | None) -> Iterator[Any]:
        """Yields what the server streams, over interruptions of at most a minute each."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        last_answer: float | None = None
        while True:
            remaining_s = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                for response in self._connection.stream(method, request, timeout_s=remaining_s):
                    last_answer = time.monotonic()
                    yield response
            except UnavailableError:
                if last_answer is None or time.monotonic() - last_answer > _RECONNECT_S:
                    raise
                time.sleep(_RECONNECT_PAUSE_S)
            else:
                return
