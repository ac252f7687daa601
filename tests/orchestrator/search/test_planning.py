import json
import math
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.search.planning import Move, knowledge_of, plan
from orchestrator.search.samplers.exhaustive import Exhaustive
from orchestrator.search.samplers.sampler import Effort, Knowledge, Sampler
from orchestrator.search.trial import Trial, TrialState
from tests.fakes.small_world import Facts, passes_json
from tests.orchestrator.search.test_conclusion import a_search, a_trial

S = TrialState


class Nothing(Sampler):
    def wanted(self, knowledge: Knowledge) -> tuple[str, ...]:
        return ()


def moves(trials: list[Trial], *, running: tuple[str, ...] = (), slots: int = 8, sampler: Sampler | None = None) -> Any:
    found = plan(a_search(), trials, sampler=sampler or Exhaustive(), running=running, slots=slots)
    return {move.trial_id: move.effort for move in found}


def a_baseline(state: TrialState = S.FEASIBLE, accuracy: float | None = 0.98) -> Trial:
    return a_trial(0, state, accuracy=accuracy, structure_sha256="zero")


def test_each_state_needs_its_own_work() -> None:
    trials = [
        a_baseline(),
        a_trial(1, S.QUEUED, size_bytes=None),
        a_trial(2, S.BUILDING, size_bytes=None),
        a_trial(3, S.MEASURING, structure_sha256="three"),
        a_trial(4, S.TRAINING),
        a_trial(5, S.CONFIRMING),
        a_trial(6, S.INFEASIBLE),
    ]
    assert moves(trials) == {
        "trial-1": Effort.BUILD,
        "trial-2": Effort.BUILD,
        "trial-3": Effort.MEASURE,
        "trial-4": Effort.TRAIN,
        "trial-5": Effort.CONFIRM,
    }


def test_what_is_under_way_is_not_begun_again() -> None:
    assert moves([a_baseline(), a_trial(1, S.TRAINING)], running=("trial-1",)) == {}


def test_the_baseline_is_first_whatever_the_sampler_wants() -> None:
    trials = [a_baseline(S.QUEUED, None), a_trial(1, S.QUEUED)]
    assert moves(trials, sampler=Nothing()) == {"trial-0": Effort.BUILD}
    found = plan(a_search(), trials, sampler=Exhaustive(), running=(), slots=1)
    assert found == (Move(trial_id="trial-0", effort=Effort.BUILD),)


def test_nothing_else_is_trained_before_the_accuracy_of_the_baseline_is_known() -> None:
    trials = [a_baseline(S.TRAINING, None), a_trial(1, S.TRAINING), a_trial(2, S.MEASURING, structure_sha256="two")]
    assert moves(trials) == {"trial-0": Effort.TRAIN, "trial-2": Effort.MEASURE}


def test_building_and_training_share_the_slots_and_measuring_needs_none() -> None:
    trials = [
        a_baseline(),
        a_trial(1, S.TRAINING),
        a_trial(2, S.QUEUED),
        a_trial(3, S.TRAINING),
        a_trial(4, S.CONFIRMING),
    ]
    assert moves(trials, slots=2, running=("trial-1",)) == {"trial-2": Effort.BUILD, "trial-4": Effort.CONFIRM}


def test_a_trial_that_ended_while_its_work_goes_on_takes_no_slot() -> None:
    trials = [a_baseline(), a_trial(1, S.DOMINATED), a_trial(2, S.TRAINING)]
    assert moves(trials, slots=1, running=("trial-1",)) == {"trial-2": Effort.TRAIN}


def test_one_structure_is_not_measured_twice_at_a_time() -> None:
    twins = [a_trial(1, S.MEASURING, structure_sha256="same"), a_trial(2, S.MEASURING, structure_sha256="same")]
    assert moves([a_baseline(), *twins]) == {"trial-1": Effort.MEASURE}
    assert moves([a_baseline(), *twins], running=("trial-1",)) == {}


def test_what_a_sampler_may_know() -> None:
    title = "structured_prune 0.5"
    trials = [
        a_baseline(),
        a_trial(1, S.FEASIBLE, passes_json=passes_json(title, Facts(size_bytes=1, parameters=7_000)), accuracy=0.97),
        a_trial(2, S.QUEUED, size_bytes=None),
    ]
    search = replace(a_search(), best_trial_id="trial-1")
    knowledge = knowledge_of(search, trials, running=("trial-2",), slots=3)
    assert [candidate.parameters for candidate in knowledge.candidates] == [25_000, 7_000, None]
    assert [candidate.effort for candidate in knowledge.candidates] == [Effort.OVER, Effort.OVER, Effort.BUILD]
    assert [candidate.running for candidate in knowledge.candidates] == [False, False, True]
    assert knowledge.best_size_bytes == 2000
    assert knowledge.accuracy_floor is None
    assert knowledge.slots == 3


def test_reports_without_passes_have_no_weights_of_their_own() -> None:
    assert json.loads(passes_json("baseline", Facts(size_bytes=1))) == []
    (candidate,) = knowledge_of(a_search(), [a_baseline()], running=(), slots=1).candidates
    assert candidate.parameters is None


def test_what_each_method_left_of_the_weights_is_where_a_candidate_is() -> None:
    def reports(*passes: tuple[str, int, int]) -> str:
        return json.dumps(
            [
                {"name": name, "title": name, "before": {"parameters": before}, "after": {"parameters": after}}
                for name, before, after in passes
            ]
        )

    trials = [
        a_baseline(),
        a_trial(1, S.TRAINING, passes_json=reports(("prune", 1000, 500), ("int8", 500, 500))),
        a_trial(2, S.TRAINING, passes_json=reports(("prune", 1000, 500), ("factor", 500, 250))),
    ]
    baseline, pruned, factored = knowledge_of(a_search(), trials, running=(), slots=1).candidates
    half = pytest.approx(math.log(0.5))
    assert baseline.position == (0, 0)
    assert pruned.position == (0, half)
    assert factored.position == (half, half)
    assert [candidate.kind for candidate in (baseline, pruned, factored)] == ["", "int8", ""]
