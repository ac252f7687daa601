"""Every domain type comes back from every database as it was stored, and moves only from the expected state."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import ConflictError, InvalidInputError, NotFoundError
from orchestrator.fleet.api_token import ApiToken
from orchestrator.fleet.device import Device
from orchestrator.fleet.job import Job, JobState
from orchestrator.fleet.join_token import JoinToken
from orchestrator.fleet.measurement import Measurement
from orchestrator.releases.release import Release
from orchestrator.rollouts.rollout import Deployment, DeploymentState, Rollout, RolloutState
from orchestrator.search.budget import Verdict
from orchestrator.search.search import Search, SearchState
from orchestrator.search.trial import Trial, TrialState
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage.records import (
    NOW,
    a_deployment,
    a_device,
    a_job,
    a_release,
    a_rollout,
    a_search,
    a_trial,
    any_of,
)

T = TypeVar("T")

PARENTS = {
    Trial: ("search_id", lambda tx: _added(tx.searches, a_search())),
    Rollout: ("release_id", lambda tx: _added(tx.releases, a_release())),
    Deployment: (
        "rollout_id",
        lambda tx: _added(tx.rollouts, a_rollout(_added(tx.releases, a_release()))),
    ),
}
REPOSITORIES = {
    Device: "devices",
    JoinToken: "join_tokens",
    ApiToken: "api_tokens",
    Job: "jobs",
    Search: "searches",
    Trial: "trials",
    Release: "releases",
    Rollout: "rollouts",
    Deployment: "deployments",
}


class EnoughError(Exception):
    """Ends a transaction without a trace."""


def _added(repository: Any, record: T) -> T:
    repository.add(record)
    return record


def leaving_nothing(database: Database, work: Callable[[Transaction], None]) -> None:
    def wrapped(tx: Transaction) -> None:
        work(tx)
        raise EnoughError

    with pytest.raises(EnoughError):
        database.run_blocking(wrapped)


def same(left: object, right: object) -> bool:
    # NaN equals nothing, itself included; its representation does.
    return repr(left) == repr(right)


@pytest.mark.parametrize("record_type", REPOSITORIES, ids=lambda record_type: record_type.__name__)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_record_comes_back_as_it_was_added_and_as_it_was_updated(
    database: Database, record_type: type, data: st.DataObject
) -> None:
    first, second = data.draw(any_of(record_type)), data.draw(any_of(record_type))

    def work(tx: Transaction) -> None:
        repository: Any = getattr(tx, REPOSITORIES[record_type])
        added, updated = first, replace(second, id=first.id)
        if record_type in PARENTS:
            field, make_parent = PARENTS[record_type]
            parent_id = make_parent(tx).id
            added, updated = replace(added, **{field: parent_id}), replace(updated, **{field: parent_id})
        repository.add(added)
        assert same(repository.get(added.id), added)
        if record_type is Release:
            return
        repository.update(updated)
        if record_type is Device:
            updated = replace(updated, session_epoch=added.session_epoch)
        assert same(repository.get(added.id), updated)

    leaving_nothing(database, work)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(measurement=any_of(Measurement))
def test_every_measurement_comes_back_as_it_was_added(database: Database, measurement: Measurement) -> None:
    def work(tx: Transaction) -> None:
        assert tx.measurements.add_once(measurement)
        assert same(tx.measurements.get(measurement.result_id), measurement)

    leaving_nothing(database, work)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 0.0, 5e-324, 0.1 + 0.2, 1.7976931348623157e308])
def test_a_number_comes_back_to_the_last_digit(database: Database, number: float) -> None:
    verdict = Verdict(budget="accuracy", limit=number, value=number, held=False)

    def work(tx: Transaction) -> None:
        trial = a_trial(_added(tx.searches, a_search()), accuracy=number, verdicts=(verdict,))
        tx.trials.add(trial)
        assert same(tx.trials.get(trial.id), trial)

    leaving_nothing(database, work)


@pytest.mark.parametrize(
    ("record_type", "states"),
    [
        (Job, JobState),
        (Search, SearchState),
        (Trial, TrialState),
        (Rollout, RolloutState),
        (Deployment, DeploymentState),
    ],
)
def test_a_move_happens_only_from_the_state_that_is_expected(
    database: Database, record_type: type, states: type[Any]
) -> None:
    def a_record(tx: Transaction, state: Any) -> Any:
        if record_type is Job:
            return a_job(state=state)
        if record_type is Search:
            return a_search(state=state)
        if record_type is Trial:
            return a_trial(_added(tx.searches, a_search()), state=state)
        rollout = a_rollout(_added(tx.releases, a_release()))
        if record_type is Rollout:
            return replace(rollout, state=state)
        return a_deployment(_added(tx.rollouts, rollout), state=state)

    def work(tx: Transaction) -> None:
        repository: Any = getattr(tx, REPOSITORIES[record_type])
        for present in states:
            for expected in states:
                before = _added(repository, a_record(tx, present))
                after = replace(before, state=list(states)[-1])
                if present is expected:
                    repository.update(after, expecting=expected)
                    assert repository.get(before.id) == after
                else:
                    with pytest.raises(ConflictError, match=f"is {present.value}, not {expected.value}") as refusal:
                        repository.update(after, expecting=expected)
                    assert refusal.value.reason == "STALE"
                    assert repository.get(before.id) == before
        with pytest.raises(NotFoundError):
            repository.update(a_record(tx, present), expecting=present)

    leaving_nothing(database, work)


def test_a_moment_comes_back_as_the_same_moment_in_utc(database: Database) -> None:
    there = datetime(2026, 7, 1, 3, 0, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    device = a_device(last_seen_at=there)
    database.run_blocking(lambda tx: tx.devices.add(device))
    seen = database.run_blocking(lambda tx: tx.devices.get(device.id)).last_seen_at
    assert seen == there
    assert seen is not None
    assert seen.utcoffset() == timedelta(0)


def test_a_moment_without_a_time_zone_is_a_programmers_mistake(database: Database) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        database.run_blocking(lambda tx: tx.devices.add(a_device(last_seen_at=NOW.replace(tzinfo=None))))


@pytest.mark.parametrize(
    "change",
    [{"name": "a\x00b"}, {"name": "\ud800"}, {"session_epoch": 2**63}],
    ids=["NUL", "half a surrogate pair", "65 bits"],
)
def test_what_one_database_could_not_hold_is_refused_by_all(database: Database, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be stored"):
        database.run_blocking(lambda tx: tx.devices.add(a_device(**change)))
