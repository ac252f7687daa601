"""What crosses the stream: every field arrives, and nothing that anybody sends can raise."""

from __future__ import annotations

import dataclasses
import math
import typing
from datetime import datetime, timezone
from enum import Enum
from types import UnionType
from typing import Any

import pytest
from fleetfit.v1 import session_pb2
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.convert import encode, from_response, from_timestamp, to_request
from agent.facts import DeviceFacts
from agent.messages import Heartbeat, Hello, JobAssignment, JobProgress, JobResult, Welcome
from agent.meters.meter import MeterFacts
from agent.runtimes.runtime import RuntimeFacts
from agent.update.release import ActiveRelease, DeploymentReport, DesiredRelease

# Characters that UTF-8 can hold.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
FLOATS = st.floats(allow_nan=False)
TIMES = st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(timezone.utc))
UNSIGNED = st.integers(min_value=0, max_value=2**32 - 1)
LEAVES = {str: TEXTS, float: FLOATS, datetime: TIMES, int: UNSIGNED, bool: st.booleans()}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a message of the agent may have."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, localns={"RuntimeFacts": RuntimeFacts, "MeterFacts": MeterFacts})
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)})
    if typing.get_origin(kind) is tuple:
        return st.lists(values(typing.get_args(kind)[0]), max_size=3).map(tuple)
    if typing.get_origin(kind) in (UnionType, typing.Union):
        return st.one_of(*(st.none() if each is type(None) else values(each) for each in typing.get_args(kind)))
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return LEAVES[kind]


def assert_same(value: Any, message: Message) -> None:
    """Every field of the dataclass is in the message, under the same name and with the same meaning."""
    names = {field.name for field in message.DESCRIPTOR.fields}
    assert {field.name for field in dataclasses.fields(value)} == names
    for field in dataclasses.fields(value):
        own = getattr(value, field.name)
        if own is None:
            assert not message.HasField(field.name)
            continue
        theirs = getattr(message, field.name)
        if isinstance(own, tuple):
            assert len(own) == len(theirs)
            for one, other in zip(own, theirs, strict=True):
                assert_equal(one, other, message, field.name)
        else:
            assert_equal(own, theirs, message, field.name)


def assert_equal(own: Any, theirs: Any, message: Message, name: str) -> None:
    if dataclasses.is_dataclass(own):
        assert_same(own, theirs)
    elif isinstance(own, Enum):
        described = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number[theirs].name
        assert described.endswith(f"_{own.name}")
        assert theirs != 0
    elif isinstance(own, datetime):
        assert theirs.ToDatetime(tzinfo=timezone.utc) == own
    else:
        assert theirs == own


@settings(max_examples=50)
@given(values(Hello))
def test_every_field_of_a_hello_arrives(hello: Hello) -> None:
    assert_same(hello, to_request(hello).hello)


@given(values(Heartbeat))
def test_every_field_of_a_heartbeat_arrives(heartbeat: Heartbeat) -> None:
    assert_same(heartbeat, to_request(heartbeat).heartbeat)


@given(values(JobProgress))
def test_every_field_of_progress_arrives(progress: JobProgress) -> None:
    assert_same(progress, to_request(progress).job_progress)


@settings(max_examples=50)
@given(values(JobResult))
def test_every_field_of_a_result_arrives_also_through_the_outbox(result: JobResult) -> None:
    assert_same(result, session_pb2.ConnectRequest.FromString(encode(result)).job_result)


@given(values(DeploymentReport))
def test_every_field_of_a_report_arrives_also_through_the_outbox(report: DeploymentReport) -> None:
    assert_same(report, session_pb2.ConnectRequest.FromString(encode(report)).deployment_report)


ANY_TEXT = st.text(max_size=50) | st.just("x" * 100_000)
ANY_NUMBER = st.integers() | st.just(2**70) | st.just(-1)


@given(ANY_TEXT, ANY_NUMBER, st.lists(ANY_TEXT, max_size=5), st.floats())
def test_whatever_a_device_finds_out_fits_into_its_message(
    text: str, number: int, many: list[str], figure: float
) -> None:
    facts = DeviceFacts(
        hostname=text, architecture=text, instruction_sets=tuple(many * 1000), cpu_count=number, memory_bytes=number
    )
    hello = Hello(facts=facts, boot_id=text, job_ids=tuple(many))
    assert len(encode(hello)) < 256 << 10
    progress = JobProgress(job_id=text, stage=text)
    assert to_request(progress).job_progress.stage == text[:2000].encode(errors="replace").decode()


@given(values(JobAssignment))
def test_every_field_of_an_assignment_is_read(assignment: JobAssignment) -> None:
    message = session_pb2.ConnectResponse()
    message.job_assignment.job_id = assignment.job_id
    message.job_assignment.attempt = assignment.attempt
    if assignment.measure is not None:
        theirs = message.job_assignment.measure
        theirs.SetInParent()
        own = assignment.measure
        theirs.artifact.sha256 = own.artifact_sha256
        theirs.artifact.size_bytes = own.artifact_size_bytes
        theirs.artifact.format = own.artifact_format
        theirs.golden.sha256 = own.golden_sha256
        theirs.golden.size_bytes = own.golden_size_bytes
        theirs.golden_tolerance = own.golden_tolerance
        theirs.runtime = own.runtime
        theirs.threads = own.threads
        theirs.minimum_samples = own.minimum_samples
        message.job_assignment.lease.FromMilliseconds(1500)
        theirs.minimum_duration.FromMilliseconds(250)
        theirs.maximum_duration.FromSeconds(3600)

    read = from_response(message)

    assert isinstance(read, JobAssignment)
    assert (read.job_id, read.attempt) == (assignment.job_id, assignment.attempt)
    if assignment.measure is None:
        assert read.measure is None
    else:
        assert read.lease_s == 1.5
        expected = dataclasses.replace(
            assignment.measure,
            minimum_duration_s=0.25,
            maximum_duration_s=3600.0,
            minimum_samples=assignment.measure.minimum_samples or 200,
        )
        assert read.measure == expected


@given(values(DesiredRelease))
def test_every_field_of_a_desired_release_is_read(desired: DesiredRelease) -> None:
    message = session_pb2.ConnectResponse(desired_release=dataclasses.asdict(desired))
    assert from_response(message) == desired


def test_a_welcome_is_read() -> None:
    message = session_pb2.ConnectResponse(welcome={"protocol_version": 1, "session_epoch": 2**40, "device_name": "pi"})
    message.welcome.heartbeat_interval.FromMilliseconds(20_500)
    message.welcome.server_time.FromSeconds(1_700_000_000)
    assert from_response(message) == Welcome(
        protocol_version=1, session_epoch=2**40, heartbeat_interval_s=20.5, device_name="pi",
        server_time=datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"job_result_receipt": {"result_id": "r"}}, "Receipt(id='r')"),
        ({"deployment_receipt": {"report_id": "d"}}, "Receipt(id='d')"),
        ({"job_cancellation": {"job_id": "j"}}, "JobCancellation(job_id='j')"),
        ({}, "None"),
    ],
)
def test_short_messages_are_read(body: dict[str, Any], expected: str) -> None:
    assert repr(from_response(session_pb2.ConnectResponse(**body))) == expected


def test_an_assignment_without_limits_gets_the_defaults() -> None:
    message = session_pb2.ConnectResponse(job_assignment={"job_id": "j", "measure": {"threads": 0}})
    read = from_response(message)
    assert isinstance(read, JobAssignment)
    assert read.measure is not None
    assert (read.measure.minimum_samples, read.measure.maximum_duration_s, read.measure.threads) == (200, 30.0, 0)


def fill(message: Message, data: st.DataObject, depth: int = 0) -> None:
    """Puts anything that the wire can carry into the message."""
    for field in message.DESCRIPTOR.fields:
        if not data.draw(st.booleans()):
            continue
        if field.is_repeated:
            continue
        if field.message_type is not None:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name), data, depth + 1)
        elif field.cpp_type == field.CPPTYPE_STRING:
            setattr(message, field.name, data.draw(TEXTS) if field.type == field.TYPE_STRING else b"\xff")
        elif field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
            setattr(message, field.name, data.draw(st.floats()))
        elif field.cpp_type == field.CPPTYPE_BOOL:
            setattr(message, field.name, data.draw(st.booleans()))
        elif field.cpp_type in (field.CPPTYPE_UINT32, field.CPPTYPE_UINT64):
            setattr(message, field.name, data.draw(UNSIGNED))
        elif field.cpp_type == field.CPPTYPE_INT64:
            setattr(message, field.name, data.draw(st.integers(-(2**63), 2**63 - 1)))
        else:
            setattr(message, field.name, data.draw(st.integers(-(2**31), 2**31 - 1)))


@given(st.data())
def test_nothing_that_an_orchestrator_says_raises(data: st.DataObject) -> None:
    message = session_pb2.ConnectResponse()
    body = data.draw(st.sampled_from([field.name for field in message.DESCRIPTOR.fields]))
    getattr(message, body).SetInParent()
    fill(getattr(message, body), data)
    read = from_response(message)
    assert read is not None
    if isinstance(read, Welcome):
        assert read.heartbeat_interval_s >= 0
        assert math.isfinite(read.heartbeat_interval_s)


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1))
def test_any_timestamp_is_some_instant(seconds: int, nanos: int) -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    assert from_timestamp(Timestamp(seconds=seconds, nanos=nanos)).tzinfo is timezone.utc


def test_the_active_release_is_absent_where_there_is_none() -> None:
    assert not to_request(Heartbeat()).heartbeat.HasField("active_release")
    served = ActiveRelease(manifest_sha256="a", name="kws", version="1")
    assert to_request(Heartbeat(active_release=served)).heartbeat.active_release.name == "kws"
