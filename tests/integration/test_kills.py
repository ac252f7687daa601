"""``kill -9`` in mid-search: what was finished stays finished, and the search ends all the same."""

from typing import Any

import pytest

from tests.integration.fleet import LocalFleet

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

FINAL = {"feasible", "infeasible", "dominated", "failed", "cancelled"}


@pytest.fixture
def searching(fleet: LocalFleet, spec: str) -> LocalFleet:
    """A fleet with an orchestrator, an agent and a search that has begun."""
    fleet.start_orchestrator()
    agent = fleet.join("bench")
    fleet.wait(lambda: any(device["online"] for device in _devices(fleet)), "the device is online", agent)
    started = fleet.cli("search", "run", spec, "--detach")
    assert started.returncode == 0, started.stderr
    return fleet


def test_a_killed_orchestrator_goes_on_and_repeats_nothing(searching: LocalFleet) -> None:
    orchestrator, agent = searching.processes
    # The baseline is trained, measured and judged, and the others are on their way.
    searching.wait(lambda: _ended(searching), "a trial has ended", orchestrator, agent, timeout_s=150)
    orchestrator.kill()
    before = _stopped_state(searching)

    orchestrator = searching.start_orchestrator()
    searching.wait(
        lambda: _search(searching)["state"] != "running", "the search ends", orchestrator, agent, timeout_s=200
    )
    assert _search(searching)["state"] == "succeeded"
    after = {trial["number"]: trial for trial in _trials(searching)}
    assert all(trial["state"] in FINAL for trial in after.values())
    for number, trained_s in before.items():
        assert after[number]["train_s"] == trained_s, "a training that was finished has been repeated"
    _assert_nothing_was_measured_twice(searching)


def test_a_killed_agent_comes_back_and_its_job_is_done_once(searching: LocalFleet) -> None:
    orchestrator, agent = searching.processes
    searching.wait(lambda: _measures(searching), "the device measures", orchestrator, agent, timeout_s=150)
    agent.kill()
    again = searching.run_agent("bench")
    searching.wait(
        lambda: _search(searching)["state"] != "running", "the search ends", orchestrator, again, timeout_s=250
    )
    assert _search(searching)["state"] == "succeeded"
    _assert_nothing_was_measured_twice(searching)


def _devices(fleet: LocalFleet) -> list[dict[str, Any]]:
    return list(fleet.cli_json("device", "list")["devices"])


def _search(fleet: LocalFleet) -> dict[str, Any]:
    return dict(fleet.cli_json("search", "show", "corners")["search"])


def _trials(fleet: LocalFleet) -> list[dict[str, Any]]:
    return list(fleet.cli_json("search", "show", "corners")["search"]["trials"])


def _ended(fleet: LocalFleet) -> list[dict[str, Any]]:
    return [trial for trial in _trials(fleet) if trial["state"] in FINAL and trial["train_s"] is not None]


def _measures(fleet: LocalFleet) -> bool:
    return any("measuring" in device["activity"] for device in _devices(fleet))


def _database(fleet: LocalFleet) -> Any:
    from orchestrator.storage.database import Database

    return Database.open(f"sqlite:///{fleet.data_dir / 'fleetfit.db'}")


def _stopped_state(fleet: LocalFleet) -> dict[int, float]:
    """Seconds of the trainings that were finished when the orchestrator was killed, by trial."""
    database = _database(fleet)
    try:
        search = database.run_blocking(lambda tx: tx.searches.find("corners"))
        trials = database.run_blocking(lambda tx: tx.trials.list(search.id))
    finally:
        database.close()
    return {trial.number: trial.train_s for trial in trials if trial.artifact_sha256}


def _assert_nothing_was_measured_twice(fleet: LocalFleet) -> None:
    database = _database(fleet)
    try:
        measurements = database.run_blocking(lambda tx: tx.measurements.list())
    finally:
        database.close()
    # A draft that equals its artifact is measured as both: once without, once with its outputs compared.
    measured = [
        (each.artifact_sha256, each.device_id, each.numerics is not None and each.numerics.checked)
        for each in measurements
    ]
    assert measured
    assert len(measured) == len(set(measured))
