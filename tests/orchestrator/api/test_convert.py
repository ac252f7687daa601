"""Messages and domain objects: what the agent writes arrives, and what is sent is what agent and client read."""

from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fleetfit.v1 import device_facts_pb2, measurement_pb2, rollouts_pb2, searches_pb2, session_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

import agent.convert
import agent.facts
import agent.messages
import agent.profiling.measurement as agents
import agent.update.release
import orchestrator.client.convert as client
from orchestrator.api.convert.devices import (
    active_release_from_proto,
    device_to_proto,
    facts_from_proto,
    facts_to_proto,
)
from orchestrator.api.convert.join_tokens import join_token_to_proto
from orchestrator.api.convert.measurements import measurement_from_proto, measurement_to_proto, request_to_proto
from orchestrator.api.convert.releases import release_to_proto
from orchestrator.api.convert.rollouts import plan_from_proto, report_from_proto, rollout_to_proto
from orchestrator.api.convert.scalars import enum_member, enum_number, identifiers, moment, time_delta
from orchestrator.api.convert.searches import search_to_proto, trial_to_proto
from orchestrator.errors import InvalidInputError
from orchestrator.fleet.device import ActiveRelease, DeviceFacts, MeterFacts, Provenance, RuntimeFacts
from orchestrator.fleet.measurement import (
    Conditions,
    Energy,
    Figure,
    Latency,
    Measurement,
    MeasureRequest,
    Memory,
    Numerics,
    Outcome,
    Quality,
)
from orchestrator.rollouts.plan import Plan, WaveSize
from orchestrator.rollouts.rollout import DeploymentState, RolloutState
from orchestrator.search.budget import Budgets, Verdict
from orchestrator.search.search import SearchState
from orchestrator.search.trial import TrialState
from tests.orchestrator.storage.records import (
    a_deployment,
    a_device,
    a_join_token,
    a_measurement,
    a_release,
    a_rollout,
    a_search,
    a_trial,
)

WORDS = st.from_regex(r"[A-Za-z0-9<>&'\".,;:()/+-]{0,12}( [A-Za-z0-9]{1,8})?", fullmatch=True).map(str.strip)
IDS = st.from_regex(r"[A-Za-z0-9._:-]{1,40}", fullmatch=True)
HASHES = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
AMOUNTS = st.floats(min_value=0, max_value=1e12)
ANY_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**32 - 1)
SIZES = st.integers(0, 2**63 - 1)
# Exact in binary and in nanoseconds, so that nothing has to be forgiven.
QUARTERS = st.integers(1, 10**6).map(lambda quarters: quarters / 4)
# Protobuf's own range is the years 1 to 9999; to the microsecond on both sides.
MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(timezone.utc)
).map(lambda when: when.replace(fold=0))


def _lists(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=3).map(tuple)


FIGURES = st.builds(
    lambda value, below, above: Figure(
        value=value, lower=None if below is None else value - below, upper=None if above is None else value + above
    ),
    AMOUNTS,
    st.none() | AMOUNTS,
    st.none() | AMOUNTS,
)
LATENCIES = st.builds(
    Latency,
    p50_ms=st.none() | FIGURES,
    p90_ms=st.none() | FIGURES,
    p95_ms=st.none() | FIGURES,
    p99_ms=st.none() | FIGURES,
    mean_ms=AMOUNTS,
    minimum_ms=AMOUNTS,
    sample_count=COUNTS,
    load_ms=AMOUNTS,
    first_inference_ms=AMOUNTS,
    warm_up_count=COUNTS,
    steady_state=st.booleans(),
    quality=st.sampled_from(Quality),
    remarks=_lists(WORDS),
)
ENERGIES = st.builds(
    Energy,
    gross_mj=st.none() | AMOUNTS,
    net_mj=st.none() | ANY_NUMBER,
    lower_mj=st.none() | ANY_NUMBER,
    upper_mj=st.none() | ANY_NUMBER,
    meter=WORDS,
    provenance=st.sampled_from(Provenance),
    scope=WORDS,
    remark=WORDS,
)
MEMORIES = st.builds(Memory, peak_bytes=SIZES, baseline_bytes=SIZES, provenance=st.sampled_from(Provenance))
NUMERICS = st.builds(
    Numerics, checked=st.booleans(), maximum_absolute_error=AMOUNTS, maximum_relative_error=st.floats(min_value=0)
)
CONDITIONS = st.builds(
    Conditions,
    runtime=WORDS,
    runtime_version=WORDS,
    provider=WORDS,
    threads=COUNTS,
    governor=WORDS,
    load_average=AMOUNTS,
    temperature_c=st.none() | ANY_NUMBER,
)
MEASUREMENTS = st.builds(
    lambda **fields: (
        Measurement(**fields)
        if fields["outcome"] is not Outcome.OK or fields["latency"] is not None
        else Measurement(**{**fields, "outcome": Outcome.CRASHED})
    ),
    result_id=IDS,
    device_id=st.just("device"),
    device_class=st.just("class"),
    artifact_sha256=HASHES,
    outcome=st.sampled_from(Outcome),
    measured_at=MOMENTS,
    detail=WORDS,
    latency=st.none() | LATENCIES,
    energy=st.none() | ENERGIES,
    memory=st.none() | MEMORIES,
    numerics=st.none() | NUMERICS,
    conditions=CONDITIONS,
)
FACTS = st.builds(
    DeviceFacts,
    hostname=WORDS,
    architecture=WORDS,
    board=WORDS,
    cpu_model=WORDS,
    instruction_sets=_lists(WORDS),
    cpu_count=COUNTS,
    memory_bytes=SIZES,
    operating_system=WORDS,
    python_version=WORDS,
    agent_version=WORDS,
    runtimes=_lists(st.builds(RuntimeFacts, name=WORDS, version=WORDS, formats=_lists(WORDS), providers=_lists(WORDS))),
    meters=_lists(st.builds(MeterFacts, name=WORDS, provenance=st.sampled_from(Provenance), scope=WORDS)),
    host_id=WORDS,
)
ACTIVE_RELEASES = st.builds(ActiveRelease, manifest_sha256=HASHES, name=WORDS, version=WORDS)


@settings(max_examples=60, deadline=None)
@given(MEASUREMENTS)
def test_a_measurement_survives_the_way_there_and_back(measurement: Measurement) -> None:
    message = measurement_pb2.Measurement.FromString(measurement_to_proto(measurement).SerializeToString())
    assert measurement_from_proto(message, device_id="device", device_class="class") == measurement


@settings(max_examples=60, deadline=None)
@given(FACTS)
def test_facts_survive_the_way_there_and_back(facts: DeviceFacts) -> None:
    assert facts_from_proto(device_facts_pb2.DeviceFacts.FromString(facts_to_proto(facts).SerializeToString())) == facts


@settings(max_examples=60, deadline=None)
@given(ACTIVE_RELEASES)
def test_what_a_device_serves_survives_the_way_to_the_client(release: ActiveRelease) -> None:
    message = device_to_proto(a_device(active_release=release), online=True, activity="idle")
    assert active_release_from_proto(message.active_release) == release
    assert client.device(message).active_release == release


def _agents_measurement(measurement: Measurement) -> agents.Measurement:
    """The same measurement as the agent has it: its types are twins of ours, field by field."""
    fields = asdict(measurement)
    for name in ("device_id", "device_class"):
        del fields[name]
    latency = fields["latency"]
    if latency is not None:
        for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms"):
            latency[name] = None if latency[name] is None else agents.Figure(**latency[name])
        latency = agents.Latency(**{**latency, "quality": agents.Quality(latency["quality"].value)})
    for name, kind in (("energy", agents.Energy), ("memory", agents.Memory)):
        if fields[name] is not None:
            provenance = agents.Provenance(fields[name]["provenance"].value)
            fields[name] = kind(**{**fields[name], "provenance": provenance})
    numerics = None if fields["numerics"] is None else agents.Numerics(**fields["numerics"])
    return agents.Measurement(
        **{
            **fields,
            "outcome": agents.Outcome(fields["outcome"].value),
            "latency": latency,
            "numerics": numerics,
            "conditions": agents.Conditions(**fields["conditions"]),
        }
    )


@settings(max_examples=60, deadline=None)
@given(MEASUREMENTS)
def test_what_an_agent_measured_arrives_as_it_was(measurement: Measurement) -> None:
    result = agent.messages.JobResult(job_id="job", measurement=_agents_measurement(measurement))
    message = session_pb2.ConnectRequest.FromString(agent.convert.encode(result)).job_result
    assert measurement_from_proto(message.measurement, device_id="device", device_class="class") == measurement


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        MeasureRequest,
        artifact_sha256=HASHES,
        artifact_size_bytes=SIZES,
        artifact_format=st.sampled_from(["onnx", "tflite"]),
        runtime=WORDS,
        threads=COUNTS,
        minimum_samples=st.integers(1, 10**6),
        minimum_duration_s=QUARTERS,
        maximum_duration_s=QUARTERS,
        golden_sha256=st.just("") | HASHES,
        golden_size_bytes=st.just(0),
        golden_tolerance=AMOUNTS,
    )
)
def test_an_agent_reads_the_request_that_was_sent(request: MeasureRequest) -> None:
    assignment = session_pb2.JobAssignment(job_id="job", measure=request_to_proto(request))
    read = agent.convert.from_response(session_pb2.ConnectResponse(job_assignment=assignment))
    assert isinstance(read, agent.messages.JobAssignment)
    assert read.measure is not None
    assert asdict(read.measure) == asdict(request)


@pytest.mark.parametrize("state", agent.update.release.DeploymentState)
def test_a_report_of_an_agent_arrives_as_it_was(state: agent.update.release.DeploymentState) -> None:
    active = agent.update.release.ActiveRelease(manifest_sha256="ab" * 32, name="digits", version="2")
    report = agent.update.release.DeploymentReport(
        report_id="r-1", deployment_id="d-1", state=state, reason="why", active_release=active,
        reported_at=datetime(2026, 11, 24, tzinfo=timezone.utc),
    )  # fmt: skip
    arrived = report_from_proto(session_pb2.ConnectRequest.FromString(agent.convert.encode(report)).deployment_report)
    assert arrived.state is DeploymentState(state.value)
    assert (arrived.report_id, arrived.deployment_id, arrived.reason) == ("r-1", "d-1", "why")
    assert arrived.active_release == ActiveRelease(manifest_sha256="ab" * 32, name="digits", version="2")
    assert arrived.reported_at == report.reported_at


ENUMERATIONS = [
    (Outcome, measurement_pb2.Outcome.DESCRIPTOR),
    (Quality, measurement_pb2.Quality.DESCRIPTOR),
    (Provenance, device_facts_pb2.Provenance.DESCRIPTOR),
    (SearchState, searches_pb2.SearchState.DESCRIPTOR),
    (TrialState, searches_pb2.TrialState.DESCRIPTOR),
    (RolloutState, rollouts_pb2.RolloutState.DESCRIPTOR),
    (DeploymentState, session_pb2.DeploymentState.DESCRIPTOR),
]


@pytest.mark.parametrize(("kind", "descriptor"), ENUMERATIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_member_has_its_number_and_every_number_its_member(kind: Any, descriptor: Any) -> None:
    numbers = {enum_number(descriptor, member) for member in kind}
    assert numbers == {value.number for value in descriptor.values if value.number}
    assert {enum_member(kind, descriptor, number, name="it") for number in numbers} == set(kind)
    for unknown in (0, 9999):
        with pytest.raises(InvalidInputError, match="it: "):
            enum_member(kind, descriptor, unknown, name="it")


def test_the_client_reads_a_device_as_it_is() -> None:
    device = a_device(last_seen_at=datetime(2026, 11, 24, tzinfo=timezone.utc))
    read = client.device(device_to_proto(device, online=True, activity="measuring: warming up"))
    assert (read.id, read.name, read.device_class) == (device.id, device.name, device.device_class)
    assert (read.online, read.activity, read.facts, read.labels) == (
        True,
        "measuring: warming up",
        device.facts,
        device.labels,
    )
    assert (read.enrolled_at, read.last_seen_at) == (device.enrolled_at, device.last_seen_at)
    assert read.certificate_expires_at == device.certificate_expires_at


def test_the_client_reads_a_join_token_without_its_hash() -> None:
    token = a_join_token(labels={"site": "lab"}, uses=1, maximum_uses=3, revoked=True)
    read = client.join_token(join_token_to_proto(token))
    assert asdict(read) == {name: value for name, value in asdict(token).items() if name != "secret_hash"}


def test_the_client_reads_a_release_as_it_is() -> None:
    release = a_release()
    assert client.release(release_to_proto(release)) == release


@pytest.mark.parametrize("state", RolloutState)
def test_the_client_reads_a_rollout_as_it_is(state: RolloutState) -> None:
    release = a_release()
    rollout = replace(a_rollout(release), state=state, reason="why", finished_at=release.created_at)
    deployments = [a_deployment(rollout, state=each, reason="because") for each in DeploymentState]
    names = {deployments[0].device_id: "pi-4b"}
    read = client.rollout(rollout_to_proto(rollout, release=release, deployments=deployments, device_names=names))
    assert (read.id, read.release_id, read.release, read.state) == (rollout.id, release.id, release.title, state)
    assert (read.reason, read.finished_at) == ("why", release.created_at)
    assert [each.state for each in read.deployments] == list(DeploymentState)
    assert (read.plan, read.wave) == (rollout.plan, 1)
    # A device that was removed is shown by its id.
    assert [each.device for each in read.deployments][:2] == ["pi-4b", deployments[1].device_id]


@pytest.mark.parametrize("state", SearchState)
def test_the_client_reads_a_search_as_it_is(state: SearchState) -> None:
    search = a_search(state=state, reason="why", metric_name="accuracy", best_trial_id="best", device_ids=("a", "b"))
    trials = [
        a_trial(search, train_s=3.0, measurement_ids={"a": "r-1", "b": "r-2"}),
        a_trial(search, measurement_ids={"a": "r-1"}),
    ]
    read = client.search(search_to_proto(search, trials=trials, device_names={"a": "pi"}))
    assert (read.id, read.name, read.state, read.reason) == (search.id, search.name, state, "why")
    assert read.budgets == Budgets(latency_p95_ms=20.0, size_bytes=64_000)
    assert (read.devices, read.metric_name, read.best_trial_id) == (("pi", "b"), "accuracy", "best")
    assert (read.training_count, read.measurement_count) == (1, 2)
    assert (read.created_at, read.finished_at) == (search.created_at, None)


@pytest.mark.parametrize("state", TrialState)
def test_the_client_reads_a_trial_as_it_is(state: TrialState) -> None:
    measurement = a_measurement(result_id="r-1")
    verdicts = (
        Verdict(budget="size_bytes", limit=64_000.0, value=50_000.0, held=True),
        Verdict(budget="energy_mj", limit=1.0, value=None, held=False, device="pi"),
    )
    trial = a_trial(
        a_search(), state=state, size_bytes=0, accuracy=0.97, verdicts=verdicts, measurement_ids={"device": "r-1"},
        artifact_sha256="ab" * 32, format="onnx", progress="epoch 3 of 8",
    )  # fmt: skip
    read = client.trial(trial_to_proto(trial, measurements={"pi": measurement}))
    assert (read.id, read.number, read.title, read.state) == (trial.id, trial.number, trial.title, state)
    # Zero bytes is a size; no training is no time.
    assert (read.size_bytes, read.accuracy, read.train_s) == (0, 0.97, None)
    assert (read.verdicts, read.progress, read.format) == (verdicts, "epoch 3 of 8", "onnx")
    assert list(read.measurements) == ["pi"]
    assert read.measurements["pi"].result_id == "r-1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("result_id", ""),
        ("result_id", "a b"),
        ("result_id", "x" * 200),
        ("artifact_sha256", "AB" * 32),
        ("artifact_sha256", "../etc/passwd"),
        ("outcome", 77),
    ],
)
def test_a_measurement_that_cannot_be_one_is_refused(field: str, value: Any) -> None:
    message = measurement_to_proto(a_measurement(outcome=Outcome.CRASHED))
    setattr(message, field, value)
    with pytest.raises(InvalidInputError, match=field):
        measurement_from_proto(message, device_id="device", device_class="class")


def test_success_without_a_latency_is_refused() -> None:
    message = measurement_to_proto(a_measurement(outcome=Outcome.OK))
    with pytest.raises(InvalidInputError, match="no latency"):
        measurement_from_proto(message, device_id="device", device_class="class")


def test_an_interval_that_ends_below_its_value_is_refused() -> None:
    message = measurement_to_proto(a_measurement(outcome=Outcome.CRASHED))
    message.latency.quality = measurement_pb2.QUALITY_HIGH
    message.latency.p95_ms.CopyFrom(measurement_pb2.Figure(value=10.0, upper=1.0))
    with pytest.raises(InvalidInputError, match="p95_ms"):
        measurement_from_proto(message, device_id="device", device_class="class")


def test_a_figure_whose_source_is_not_told_is_refused() -> None:
    message = measurement_to_proto(a_measurement(outcome=Outcome.CRASHED))
    message.memory.peak_bytes = 1
    with pytest.raises(InvalidInputError, match="provenance"):
        measurement_from_proto(message, device_id="device", device_class="class")


def test_times_and_durations_beyond_all_calendars_are_refused() -> None:
    message = session_pb2.DeploymentReport()
    message.reported_at.seconds = 2**62
    with pytest.raises(InvalidInputError, match="not a time"):
        moment(message.reported_at, name="reported_at")
    assignment = session_pb2.JobAssignment()
    assignment.lease.seconds = 2**62
    with pytest.raises(InvalidInputError, match="not a duration"):
        time_delta(assignment.lease, name="lease")
    assignment.lease.seconds = 60
    assert time_delta(assignment.lease, name="lease") == timedelta(minutes=1)


def test_more_job_ids_than_any_device_has_are_refused() -> None:
    assert identifiers(["a", "b", "a"], name="job_ids") == ("a", "b")
    with pytest.raises(InvalidInputError, match="300 entries"):
        identifiers([str(number) for number in range(300)], name="job_ids")


def test_very_long_lists_of_facts_are_cut() -> None:
    message = device_facts_pb2.DeviceFacts(
        instruction_sets=["avx2"] * 10_000, runtimes=[device_facts_pb2.RuntimeFacts(name="x")] * 1000
    )
    facts = facts_from_proto(message)
    assert (len(facts.instruction_sets), len(facts.runtimes)) == (256, 64)


def test_a_plan_arrives_as_the_client_has_it() -> None:
    waves = (WaveSize(devices=1), WaveSize(fraction=0.1), WaveSize(fraction=1.0))
    plan = Plan(
        waves=waves,
        success_fraction=0.9,
        error_fraction=0.2,
        minimum_sample=3,
        soak_s=60.5,
        max_parallel=7,
        offline_deadline_s=3600.0,
        open=True,
        seed=5,
    )
    assert plan_from_proto(client.plan_message(plan)) == plan
    rollout = a_rollout(a_release(), plan=plan, wave=2)
    read = client.rollout(rollout_to_proto(rollout, release=a_release(), deployments=[], device_names={}))
    assert (read.plan, read.wave) == (plan, 3)
    # Whoever says nothing gets the plain plan, with a seed of its own.
    assert replace(plan_from_proto(rollouts_pb2.RolloutPlan()), seed=0) == Plan()


@pytest.mark.parametrize(
    "message",
    [
        rollouts_pb2.RolloutPlan(success_fraction=float("nan")),
        rollouts_pb2.RolloutPlan(waves=[rollouts_pb2.WaveSize(fraction=float("inf"))]),
        rollouts_pb2.RolloutPlan(waves=[rollouts_pb2.WaveSize()]),
        rollouts_pb2.RolloutPlan(minimum_sample=0),
        rollouts_pb2.RolloutPlan(soak={"seconds": -5}),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(message: rollouts_pb2.RolloutPlan) -> None:
    with pytest.raises(InvalidInputError):
        plan_from_proto(message)
