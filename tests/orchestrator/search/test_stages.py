import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.fleet.measurement import Measurement, MeasureRequest, Numerics, Outcome
from orchestrator.search.budget import Budgets
from orchestrator.search.stages import (
    Begun,
    Broken,
    Built,
    Confirmed,
    Event,
    Measured,
    Outdone,
    Standing,
    Stopped,
    Trained,
    outdone_by,
    step,
)
from orchestrator.search.trial import MOVES, Trial, TrialState
from tests.fakes.small_world import Facts, a_measurement
from tests.orchestrator.search.scenes import NOW

BUDGETS = Budgets(latency_p95_ms=20.0, size_bytes=90_000, accuracy_drop=0.01)


def a_trial(**changes: Any) -> Trial:
    trial = Trial(
        id="seven",
        search_id="search",
        number=7,
        title="structured_prune 0.5",
        recipe_json="{}",
        state=TrialState.QUEUED,
        created_at=NOW,
        size_bytes=50_000,
        structure_sha256="s",
        progress="something",
    )
    return replace(trial, **changes)


def a_standing(**changes: Any) -> Standing:
    return replace(Standing(budgets=BUDGETS, devices={"id-of-pi": "pi"}, baseline_accuracy=0.98, best=None), **changes)


def best(size_bytes: int) -> Trial:
    return a_trial(id="best", number=3, state=TrialState.FEASIBLE, size_bytes=size_bytes)


def built(**changes: Any) -> Built:
    event = Built(format="onnx", size_bytes=50_000, structure_sha256="s", draft_sha256="d", passes_json="[]")
    return replace(event, **changes)


def trained(**changes: Any) -> Trained:
    event = Trained(
        artifact_sha256="a",
        size_bytes=50_000,
        structure_sha256="s",
        passes_json="[]",
        accuracy=0.975,
        train_s=3.0,
        golden_sha256="g",
        golden_tolerance=1e-3,
    )
    return replace(event, **changes)


def figures(*, confirming: bool = False, **facts: Any) -> Mapping[str, Measurement]:
    request = MeasureRequest(
        artifact_sha256="a", artifact_size_bytes=1, artifact_format="onnx", golden_sha256="g" if confirming else ""
    )
    found = a_measurement(
        Facts(size_bytes=1, **facts),
        result_id="result",
        device_id="id-of-pi",
        device_class="pi",
        request=request,
        confirming=confirming,
    )
    return {"id-of-pi": found}


EVENTS: Mapping[str, Event] = {
    "begun": Begun(),
    "built": built(),
    "measured": Measured(measurements=figures()),
    "trained": trained(),
    "confirmed": Confirmed(measurements=figures(confirming=True)),
    "outdone": Outdone(),
    "broken": Broken(reason="it broke"),
    "stopped": Stopped(reason="nobody wants it"),
}

S = TrialState
# Where each event leads from each state; what is not here cannot happen.
TABLE: Mapping[tuple[TrialState, str], TrialState] = {
    (S.QUEUED, "begun"): S.BUILDING,
    (S.QUEUED, "stopped"): S.CANCELLED,
    (S.BUILDING, "built"): S.MEASURING,
    (S.BUILDING, "broken"): S.FAILED,
    (S.BUILDING, "stopped"): S.CANCELLED,
    (S.MEASURING, "measured"): S.TRAINING,
    (S.MEASURING, "outdone"): S.DOMINATED,
    (S.MEASURING, "broken"): S.FAILED,
    (S.MEASURING, "stopped"): S.CANCELLED,
    (S.TRAINING, "trained"): S.CONFIRMING,
    (S.TRAINING, "outdone"): S.DOMINATED,
    (S.TRAINING, "broken"): S.FAILED,
    (S.TRAINING, "stopped"): S.CANCELLED,
    (S.CONFIRMING, "confirmed"): S.FEASIBLE,
    (S.CONFIRMING, "outdone"): S.DOMINATED,
    (S.CONFIRMING, "broken"): S.FAILED,
    (S.CONFIRMING, "stopped"): S.CANCELLED,
}


@pytest.mark.parametrize(("state", "name"), list(itertools.product(TrialState, EVENTS)))
def test_every_event_in_every_state(state: TrialState, name: str) -> None:
    trial = a_trial(state=state)
    standing = a_standing(best=best(40_000) if name == "outdone" else None)
    expected = TABLE.get((state, name))
    if expected is None:
        with pytest.raises(ValueError, match=f"a trial that is {state.value} cannot"):
            step(trial, EVENTS[name], standing, now=NOW)
        return
    after = step(trial, EVENTS[name], standing, now=NOW)
    assert after.state is expected
    assert after.state in MOVES[state]
    assert (after.finished_at == NOW) is after.state.final
    assert (after.progress == "") is after.state.final
    assert bool(after.reason) is (after.state.final and after.state is not S.FEASIBLE)


def test_the_table_of_moves_has_no_move_that_no_event_makes() -> None:
    made = {(state, after) for (state, _), after in TABLE.items()}
    ruled_out = {(state, S.INFEASIBLE) for state in (S.BUILDING, S.MEASURING, S.TRAINING, S.CONFIRMING)}
    dominated_when_built = {(S.BUILDING, S.DOMINATED)}
    assert {(state, after) for state, moves in MOVES.items() for after in moves} == (
        made | ruled_out | dominated_when_built
    )


@pytest.mark.parametrize(
    ("state", "event", "reason"),
    [
        (S.BUILDING, built(size_bytes=99_000), "size is 99.0kB, 10% over its budget of 90.0kB"),
        (
            S.MEASURING,
            Measured(measurements=figures(latency_ms=24.0)),
            "latency p95 on pi is 24.5ms, 22% over its budget of 20.0ms",
        ),
        (
            S.MEASURING,
            Measured(measurements=figures(outcome=Outcome.CRASHED)),
            "pi could not measure it, the runtime crashed on it",
        ),
        (S.MEASURING, Measured(measurements={}), "pi did not measure it"),
        (S.TRAINING, trained(accuracy=0.95), "accuracy is 0.9500, 0.0200 below its floor of 0.9700"),
        (S.TRAINING, trained(size_bytes=91_000), "size is 91.0kB, 1.1% over its budget of 90.0kB"),
        (
            S.CONFIRMING,
            Confirmed(measurements=figures(confirming=True, confirmed_outcome=Outcome.NUMERICS_FAILED)),
            "pi could not measure it, its outputs are not those of the reference",
        ),
        (
            S.CONFIRMING,
            Confirmed(measurements=figures(confirming=True, latency_ms=21.0)),
            "latency p95 on pi is 21.4ms, 7.1% over its budget of 20.0ms",
        ),
        (S.CONFIRMING, Confirmed(measurements=figures()), "pi did not compare its outputs with the reference"),
    ],
)
def test_what_misses_a_budget_is_infeasible_and_says_by_how_much(state: TrialState, event: Event, reason: str) -> None:
    after = step(a_trial(state=state), event, a_standing(), now=NOW)
    assert after.state is S.INFEASIBLE
    assert after.reason == reason


def test_a_figure_that_the_device_did_not_obtain_is_not_held() -> None:
    found = figures()["id-of-pi"]
    assert found.latency is not None
    unsure = replace(found, latency=replace(found.latency, p95_ms=None))
    after = step(a_trial(state=S.MEASURING), Measured(measurements={"id-of-pi": unsure}), a_standing(), now=NOW)
    assert after.state is S.INFEASIBLE
    assert after.reason == "latency p95 on pi was not measured, its budget is 20.0ms"


def test_outputs_that_were_not_compared_are_not_confirmed() -> None:
    found = replace(figures(confirming=True)["id-of-pi"], numerics=Numerics(checked=False))
    after = step(a_trial(state=S.CONFIRMING), Confirmed(measurements={"id-of-pi": found}), a_standing(), now=NOW)
    assert after.state is S.INFEASIBLE


@pytest.mark.parametrize(
    ("state", "event"),
    [(S.BUILDING, "built"), (S.MEASURING, "measured"), (S.TRAINING, "trained"), (S.CONFIRMING, "confirmed")],
)
@pytest.mark.parametrize(("best_bytes", "outdone"), [(50_000, True), (49_999, True), (50_001, False)])
def test_only_what_is_smaller_than_the_best_goes_on(
    state: TrialState, event: str, best_bytes: int, outdone: bool
) -> None:
    standing = a_standing(best=best(best_bytes))
    after = step(a_trial(state=state), EVENTS[event], standing, now=NOW)
    assert (after.state is S.DOMINATED) is outdone
    assert outdone_by(a_trial(), standing.best) is outdone
    if outdone:
        assert after.reason == f"50,000 bytes are not fewer than the {best_bytes:,} of trial 3"


def test_a_trial_that_is_not_outdone_cannot_be_said_to_be() -> None:
    with pytest.raises(ValueError, match="outdone only by a feasible one"):
        step(a_trial(state=S.TRAINING), Outdone(), a_standing(best=best(60_000)), now=NOW)


def test_the_baseline_is_looked_at_to_the_end_whatever_it_misses() -> None:
    standing = a_standing(baseline_accuracy=None, best=best(10))
    baseline = a_trial(id="zero", number=0, state=S.BUILDING, train_s=10.0)
    baseline = step(baseline, built(size_bytes=99_000), standing, now=NOW)
    assert baseline.state is S.MEASURING
    baseline = step(baseline, Measured(measurements=figures(latency_ms=50.0)), standing, now=NOW)
    assert baseline.state is S.TRAINING
    baseline = step(baseline, trained(size_bytes=99_000, train_s=0.0), standing, now=NOW)
    assert baseline.state is S.INFEASIBLE
    assert baseline.accuracy == 0.975
    assert baseline.train_s == 10.0
    assert "latency p95 on pi is 51.0ms" in baseline.reason
    assert "size is 99.0kB" in baseline.reason


def test_a_baseline_that_a_device_cannot_run_keeps_the_reason() -> None:
    standing = a_standing(baseline_accuracy=None)
    baseline = a_trial(id="zero", number=0, state=S.MEASURING)
    crashed = Measured(measurements=figures(outcome=Outcome.CRASHED))
    baseline = step(baseline, crashed, standing, now=NOW)
    assert baseline.state is S.TRAINING
    baseline = step(baseline, trained(), standing, now=NOW)
    assert baseline.state is S.INFEASIBLE
    assert baseline.reason == "pi could not measure it, the runtime crashed on it"


def test_a_baseline_that_holds_every_budget_is_the_first_best() -> None:
    baseline = a_trial(id="zero", number=0, state=S.CONFIRMING)
    after = step(baseline, EVENTS["confirmed"], a_standing(), now=NOW)
    assert after.state is S.FEASIBLE
    assert after.reason == ""


def test_a_drop_of_accuracy_is_never_judged_without_the_baseline_s() -> None:
    with pytest.raises(ValueError, match="before the baseline's accuracy is known"):
        step(a_trial(state=S.TRAINING), trained(), a_standing(baseline_accuracy=None), now=NOW)


def test_what_was_measured_of_another_structure_is_forgotten() -> None:
    trial = a_trial(state=S.TRAINING, measurement_ids={"id-of-pi": "result"})
    assert step(trial, trained(), a_standing(), now=NOW).measurement_ids == {"id-of-pi": "result"}
    assert step(trial, trained(structure_sha256="t"), a_standing(), now=NOW).measurement_ids == {}
