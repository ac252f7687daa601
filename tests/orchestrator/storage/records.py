"""Domain objects for tests: one plain example of each kind, and strategies that make any."""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any, TypeVar

from hypothesis import strategies as st

from orchestrator.fleet.api_token import ApiToken, Role
from orchestrator.fleet.device import Device, DeviceFacts, RuntimeFacts
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.join_token import JoinToken
from orchestrator.fleet.measurement import Measurement, MeasureRequest, Outcome
from orchestrator.releases.release import Release
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout, RolloutState
from orchestrator.search.search import Search, SearchState
from orchestrator.search.spec import SearchSpec, parse_search_spec
from orchestrator.search.trial import Trial, TrialState

T = TypeVar("T")

NOW = datetime(2026, 11, 24, 12, 30, 15, 123456, tzinfo=timezone.utc)

_numbers = itertools.count(1)


def unique(prefix: str) -> str:
    """A name that no other call returns."""
    return f"{prefix}-{next(_numbers)}"


def a_device(**changes: Any) -> Device:
    facts = DeviceFacts(
        hostname="pi",
        architecture="aarch64",
        board="Raspberry Pi 5",
        runtimes=(RuntimeFacts(name="onnxruntime", version="1.32.0", formats=("onnx",)),),
    )
    device = Device(
        id=unique("device"),
        name=unique("pi"),
        facts=facts,
        key_fingerprint=unique("key"),
        certificate_expires_at=NOW + timedelta(days=30),
        enrolled_at=NOW,
        labels={"room": "lab"},
    )
    return replace(device, **changes)


def a_join_token(**changes: Any) -> JoinToken:
    token = JoinToken(id=unique("token"), secret_hash="hash", created_at=NOW, expires_at=NOW + timedelta(minutes=15))
    return replace(token, **changes)


def an_api_token(**changes: Any) -> ApiToken:
    token = ApiToken(id=unique("token"), name="ci", role=Role.VIEWER, secret_hash=unique("hash"), created_at=NOW)
    return replace(token, **changes)


def a_job(**changes: Any) -> Job:
    request = MeasureRequest(artifact_sha256="a" * 64, artifact_size_bytes=1000, artifact_format="onnx")
    job = Job(
        id=unique("job"),
        key=unique("purpose"),
        device_id="device",
        request=request,
        state=JobState.QUEUED,
        created_at=NOW,
    )
    return replace(job, **changes)


def a_measurement(**changes: Any) -> Measurement:
    measurement = Measurement(
        result_id=unique("result"),
        device_id="device",
        device_class="pi-5",
        artifact_sha256="a" * 64,
        outcome=Outcome.OK,
        measured_at=NOW,
    )
    return replace(measurement, **changes)


def a_spec() -> SearchSpec:
    return parse_search_spec({"name": "digits", "devices": ["pi"], "budgets": {"latency_p95": "20ms", "size": "64kB"}})


def a_search(**changes: Any) -> Search:
    search = Search(
        id=unique("search"),
        name=unique("digits"),
        state=SearchState.RUNNING,
        spec=a_spec(),
        workload_filename="digits.py",
        workload_sha256="b" * 64,
        device_ids=("device",),
        created_at=NOW,
    )
    return replace(search, **changes)


def a_trial(search: Search, **changes: Any) -> Trial:
    trial = Trial(
        id=unique("trial"),
        search_id=search.id,
        number=next(_numbers),
        title="prune 0.5",
        recipe_json="{}",
        state=TrialState.QUEUED,
        created_at=NOW,
    )
    return replace(trial, **changes)


def a_release(**changes: Any) -> Release:
    release = Release(
        id=unique("release"),
        name=unique("digits"),
        version="1",
        counter=1,
        manifest_path="digits/1.json",
        manifest_sha256="c" * 64,
        manifest_json="{}",
        artifact_sha256="d" * 64,
        artifact_size_bytes=1000,
        artifact_format="onnx",
        search_id="search",
        trial_id="trial",
        created_at=NOW,
    )
    return replace(release, **changes)


def a_rollout(release: Release, **changes: Any) -> Rollout:
    rollout = Rollout(
        id=unique("rollout"),
        release_id=release.id,
        selector="all",
        state=RolloutState.RUNNING,
        created_at=NOW,
    )
    return replace(rollout, **changes)


def a_deployment(rollout: Rollout, **changes: Any) -> Deployment:
    deployment = Deployment(
        id=unique("deployment"),
        rollout_id=rollout.id,
        device_id=unique("device"),
        state=DeploymentState.PENDING,
        updated_at=NOW,
    )
    return replace(deployment, **changes)


# What PostgreSQL and SQLite both can hold: no NUL, and no halves of surrogate pairs, which are no text at all.
_TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
# Minus zero equals zero, and SQLite does not tell them apart.
_NUMBERS = st.floats().map(lambda number: number + 0.0)
_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_MOMENTS = st.datetimes(timezones=st.just(timezone.utc)).map(lambda moment: moment.replace(fold=0))
_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXTS,
    int: _INTEGERS,
    float: _NUMBERS,
    bool: st.booleans(),
    datetime: _MOMENTS,
}

_QUANTITIES = {
    "latency_p95": ["20ms", "1.5s"],
    "energy": ["15mJ"],
    "memory": ["64MiB"],
    "size": ["100kB"],
    "accuracy": ["0.97", "97%"],
    "accuracy_drop": ["1%"],
}
_BUDGETS = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in _QUANTITIES.items()})
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_SPECS = st.fixed_dictionaries(
    {
        "name": st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True),
        "devices": st.lists(_TEXTS, min_size=1, max_size=3),
        "budgets": _BUDGETS.filter(bool),
    },
    optional={
        "recipes": st.lists(st.dictionaries(_TEXTS, _JSON, max_size=2), max_size=2),
        "max_trials": st.integers(1, 100_000),
        "time_limit": st.sampled_from(["30m", "2h"]),
        "parallel": st.integers(1, 64),
        "measuring": st.fixed_dictionaries({}, optional={"threads": st.integers(1, 8), "runtime": _TEXTS}),
    },
).map(parse_search_spec)


def any_of(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that the domain is made of; each field of a dataclass on its own."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in _LEAVES:
        return _LEAVES[hint]
    if hint is SearchSpec:
        return _SPECS
    if origin in (types.UnionType, typing.Union):
        return st.none() | any_of(next(argument for argument in arguments if argument is not types.NoneType))
    if origin is tuple:
        return st.lists(any_of(arguments[0]), max_size=3).map(tuple)
    if origin is Mapping:
        return st.dictionaries(any_of(arguments[0]), any_of(arguments[1]), max_size=3)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if is_dataclass(hint):
        return st.builds(hint, **any_fields(hint))
    raise TypeError(f"no strategy for {hint}")


def any_fields(record_type: type) -> dict[str, st.SearchStrategy[Any]]:
    """A strategy for each field of a dataclass: optional ones too, so that no default hides a column."""
    hints = typing.get_type_hints(record_type)
    return {field.name: any_of(hints[field.name]) for field in fields(record_type)}
