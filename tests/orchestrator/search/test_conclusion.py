from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.search.budget import Verdict
from orchestrator.search.conclusion import best_of, closest_of, conclude
from orchestrator.search.search import Search, SearchState
from orchestrator.search.spec import parse_search_spec
from orchestrator.search.trial import Trial, TrialState
from tests.orchestrator.search.scenes import NOW


def a_search() -> Search:
    spec = parse_search_spec({"name": "digits", "devices": ["pi"], "budgets": {"latency_p95": "20ms"}})
    return Search(
        id="search",
        name="digits",
        state=SearchState.RUNNING,
        spec=spec,
        workload_filename="digits.py",
        workload_sha256="b" * 64,
        device_ids=("id-of-pi",),
        created_at=NOW,
    )


def a_trial(number: int, state: TrialState, **changes: Any) -> Trial:
    trial = Trial(
        id=f"trial-{number}",
        search_id="search",
        number=number,
        title=f"recipe {number}",
        recipe_json="{}",
        state=state,
        created_at=NOW,
        size_bytes=1000 * (number + 1),
    )
    return replace(trial, **changes)


def missed(number: int, value: float | None, *, reason: str = "it missed") -> Trial:
    verdict = Verdict(budget="latency_p95_ms", limit=20.0, value=value, held=False, device="pi")
    return a_trial(number, TrialState.INFEASIBLE, verdicts=(verdict,), reason=reason)


def test_the_smallest_feasible_trial_wins() -> None:
    trials = [
        a_trial(0, TrialState.FEASIBLE, size_bytes=9000),
        a_trial(1, TrialState.DOMINATED, size_bytes=10),
        a_trial(2, TrialState.FEASIBLE, size_bytes=500),
        a_trial(3, TrialState.FEASIBLE, size_bytes=500),
    ]
    ended = conclude(a_search(), trials, now=NOW)
    assert ended.state is SearchState.SUCCEEDED
    assert ended.best_trial_id == "trial-2"
    assert ended.finished_at == NOW
    assert ended.reason == "trial 2 (recipe 2) holds every budget with 500B, 94% smaller than the baseline"


@given(
    states=st.lists(st.sampled_from([state for state in TrialState if state is not TrialState.FEASIBLE]), max_size=8)
)
def test_only_a_feasible_trial_is_ever_the_best(states: list[TrialState]) -> None:
    trials = [a_trial(number, state) for number, state in enumerate(states)]
    assert best_of(trials) is None
    assert conclude(a_search(), trials, now=NOW).best_trial_id == ""


def test_the_closest_is_the_one_that_misses_by_the_least() -> None:
    trials = [missed(0, 90.0), missed(1, 21.0, reason="1ms over"), missed(2, 40.0)]
    ended = conclude(a_search(), trials, now=NOW)
    assert ended.state is SearchState.INFEASIBLE
    assert ended.closest_trial_id == "trial-1"
    assert ended.reason == "no candidate holds every budget; the closest is trial 1 (recipe 1): 1ms over"


def test_a_figure_that_is_missing_is_further_off_than_any_excess() -> None:
    assert closest_of([missed(0, None), missed(1, 1e9)]) == missed(1, 1e9)
    crashed = a_trial(0, TrialState.INFEASIBLE)
    assert closest_of([crashed, missed(1, 1e9)]) == missed(1, 1e9)
    assert closest_of([crashed]) == crashed, "better than nothing"


def test_of_equals_the_one_that_is_known_best_is_the_closest() -> None:
    accuracy = Verdict(budget="accuracy", limit=0.9, value=0.95, held=True)
    known = replace(missed(5, 25.0), verdicts=(*missed(5, 25.0).verdicts, accuracy))
    assert closest_of([missed(4, 25.0), known]) == known


def test_what_cut_the_search_short_is_said() -> None:
    ended = conclude(a_search(), [a_trial(1, TrialState.FEASIBLE)], now=NOW, cut_short="the time limit of 30m ran out")
    assert ended.reason.endswith("; the time limit of 30m ran out")
    ended = conclude(a_search(), [], now=NOW, cut_short="the time limit of 30m ran out")
    assert ended.reason == "no candidate was judged; the time limit of 30m ran out"


def test_a_search_whose_trials_all_failed_says_why() -> None:
    ended = conclude(a_search(), [a_trial(3, TrialState.FAILED, reason="the export failed")], now=NOW)
    assert ended.state is SearchState.INFEASIBLE
    assert ended.reason == "no candidate was judged; trial 3: the export failed"
