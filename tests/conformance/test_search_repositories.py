"""What the repositories of searches and delivery find, and what they refuse: the same on every database."""

from datetime import timedelta
from typing import Any

import pytest

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.releases.release import Release
from orchestrator.rollouts.rollout import DeploymentState, Rollout, RolloutState
from orchestrator.search.search import Search, SearchState
from orchestrator.storage.database import Database
from orchestrator.storage.transaction import Transaction
from tests.orchestrator.storage.records import (
    NOW,
    a_deployment,
    a_release,
    a_rollout,
    a_search,
    a_trial,
    unique,
)

SECOND = timedelta(seconds=1)


@pytest.fixture
def searched(database: Database) -> Search:
    search = a_search()
    database.run_blocking(lambda tx: tx.searches.add(search))
    return search


@pytest.fixture
def released(database: Database) -> Release:
    release = a_release()
    database.run_blocking(lambda tx: tx.releases.add(release))
    return release


@pytest.fixture
def rolled_out(database: Database, released: Release) -> Rollout:
    rollout = a_rollout(released)
    database.run_blocking(lambda tx: tx.rollouts.add(rollout))
    return rollout


def add(database: Database, repository: str, *records: Any) -> None:
    def work(tx: Transaction) -> None:
        for record in records:
            getattr(tx, repository).add(record)

    database.run_blocking(work)


class TestSearches:
    def test_a_name_means_the_newest_search_and_an_id_that_search(self, database: Database) -> None:
        name = unique("digits")
        older, newer = a_search(name=name), a_search(name=name)
        add(database, "searches", older, newer)
        assert database.run_blocking(lambda tx: tx.searches.find(name)) == newer
        assert database.run_blocking(lambda tx: tx.searches.find(older.id)) == older
        assert database.run_blocking(lambda tx: tx.searches.list())[:2] == (newer, older)

    def test_running_searches_are_those_that_have_not_ended(self, database: Database) -> None:
        searches = [a_search(state=state) for state in SearchState]
        add(database, "searches", *searches)
        running = database.run_blocking(lambda tx: tx.searches.running())
        assert [search for search in searches if search in running] == searches[:1]

    def test_an_idempotency_key_belongs_to_one_search_and_no_key_to_any_number(self, database: Database) -> None:
        search = a_search(idempotency_key=unique("key"))
        add(database, "searches", search, a_search(), a_search())
        assert database.run_blocking(lambda tx: tx.searches.by_idempotency_key(search.idempotency_key)) == search
        assert database.run_blocking(lambda tx: tx.searches.by_idempotency_key("")) is None
        with pytest.raises(ConflictError):
            add(database, "searches", a_search(idempotency_key=search.idempotency_key))

    def test_trials_are_listed_by_number(self, database: Database, searched: Search) -> None:
        second, first = a_trial(searched, number=2), a_trial(searched, number=1)
        add(database, "trials", second, first)
        assert database.run_blocking(lambda tx: tx.trials.list(searched.id)) == (first, second)
        with pytest.raises(ConflictError, match=r"2 \(prune 0.5\)"):
            add(database, "trials", a_trial(searched, number=2))

    def test_trials_of_any_search_are_found_by_structure(self, database: Database, searched: Search) -> None:
        other = a_search()
        add(database, "searches", other)
        structure = unique("structure")
        here = a_trial(searched, structure_sha256=structure)
        there = a_trial(other, structure_sha256=structure)
        add(database, "trials", here, there, a_trial(searched), a_trial(searched, structure_sha256=unique("structure")))
        assert database.run_blocking(lambda tx: tx.trials.by_structure(structure)) == (here, there)
        assert database.run_blocking(lambda tx: tx.trials.by_structure("")) == ()


class TestDelivery:
    def test_a_release_is_found_by_id_and_by_name_and_version(self, database: Database) -> None:
        release = a_release(name=f"a:b-{unique('x')}", manifest_sha256=unique("manifest"))
        add(database, "releases", release)
        assert database.run_blocking(lambda tx: tx.releases.find(release.id)) == release
        assert database.run_blocking(lambda tx: tx.releases.find(release.title)) == release
        assert database.run_blocking(lambda tx: tx.releases.by_manifest(release.manifest_sha256)) == release
        assert database.run_blocking(lambda tx: tx.releases.by_manifest("another")) is None

    def test_the_latest_release_of_a_name_has_the_highest_counter(self, database: Database) -> None:
        name = unique("digits")
        second, first = a_release(name=name, version="b", counter=2), a_release(name=name, version="a", counter=1)
        add(database, "releases", second, first)
        assert database.run_blocking(lambda tx: tx.releases.latest(name)) == second
        assert database.run_blocking(lambda tx: tx.releases.latest("another")) is None
        assert database.run_blocking(lambda tx: tx.releases.list())[:2] == (first, second)

    @pytest.mark.parametrize("change", [{"counter": 2}, {"version": "2"}], ids=["version", "counter"])
    def test_version_and_counter_are_given_once(
        self, database: Database, released: Release, change: dict[str, Any]
    ) -> None:
        with pytest.raises(ConflictError, match=f"release '{released.name}"):
            add(database, "releases", a_release(name=released.name, **change))

    def test_unfinished_rollouts_are_those_that_have_not_ended(self, database: Database, released: Release) -> None:
        rollouts = [a_rollout(released, state=state, idempotency_key=unique("key")) for state in RolloutState]
        add(database, "rollouts", *rollouts)
        unfinished = database.run_blocking(lambda tx: tx.rollouts.unfinished())
        expected = [rollout for rollout in rollouts if not rollout.state.final]
        assert [rollout for rollout in rollouts if rollout in unfinished] == expected
        assert len(expected) == 3
        assert database.run_blocking(lambda tx: tx.rollouts.list())[: len(rollouts)] == tuple(reversed(rollouts))
        assert (
            database.run_blocking(lambda tx: tx.rollouts.by_idempotency_key(rollouts[1].idempotency_key)) == rollouts[1]
        )
        assert database.run_blocking(lambda tx: tx.rollouts.by_idempotency_key("")) is None
        with pytest.raises(ConflictError):
            add(database, "rollouts", a_rollout(released, idempotency_key=rollouts[1].idempotency_key))

    def test_deployments_are_found_by_rollout_and_by_device(
        self, database: Database, released: Release, rolled_out: Rollout
    ) -> None:
        next_rollout = a_rollout(released)
        add(database, "rollouts", next_rollout)
        device_id = unique("device")
        before = a_deployment(rolled_out, device_id=device_id)
        neighbour = a_deployment(rolled_out)
        after = a_deployment(next_rollout, device_id=device_id)
        add(database, "deployments", before, neighbour, after)
        assert database.run_blocking(lambda tx: tx.deployments.list(rolled_out.id)) == (before, neighbour)
        assert database.run_blocking(lambda tx: tx.deployments.by_device(device_id)) == (after, before)
        with pytest.raises(ConflictError):
            add(database, "deployments", a_deployment(rolled_out, device_id=device_id))

    def test_a_report_that_arrives_twice_is_stored_once(self, database: Database, rolled_out: Rollout) -> None:
        deployment = a_deployment(rolled_out)
        add(database, "deployments", deployment)
        report_id = unique("report")

        def report(tx: Transaction) -> bool:
            return tx.deployment_reports.add_once(report_id, deployment.id, DeploymentState.REFUSED, "wrong hash", NOW)

        assert database.run_blocking(report)
        assert not database.run_blocking(report)
        (stored,) = database.run_blocking(lambda tx: tx.deployment_reports.list(deployment.id))
        assert (stored.report_id, stored.state, stored.reason, stored.reported_at) == (
            report_id, DeploymentState.REFUSED, "wrong hash", NOW,
        )  # fmt: skip

    def test_a_report_on_a_deployment_that_does_not_exist_is_refused(self, database: Database) -> None:
        with pytest.raises(NotFoundError):
            database.run_blocking(
                lambda tx: tx.deployment_reports.add_once("report", "nobody's", DeploymentState.ACTIVE, "", NOW)
            )
