import pytest

from orchestrator.search.budget import Verdict
from orchestrator.search.outlook import outlook
from orchestrator.search.trial import Trial, TrialState
from tests.orchestrator.search.test_conclusion import a_trial

S = TrialState


def latency(value: float, *, device: str = "pi") -> tuple[Verdict, ...]:
    return (Verdict(budget="latency_p95_ms", limit=20.0, value=value, held=value <= 20.0, device=device),)


def trials(*, baseline_ms: float = 40.0, smallest_ms: float = 30.0, middle: TrialState = S.MEASURING) -> list[Trial]:
    return [
        a_trial(0, S.TRAINING, size_bytes=9000, verdicts=latency(baseline_ms)),
        a_trial(1, middle, size_bytes=5000),
        a_trial(2, S.INFEASIBLE, size_bytes=1000, verdicts=latency(smallest_ms)),
    ]


def test_a_budget_that_both_ends_miss_may_be_out_of_reach() -> None:
    assert outlook(trials()) == (
        "a budget may be out of reach: of the smallest candidate, "
        "latency p95 on pi is 30.0ms, 50% over its budget of 20.0ms"
    )


@pytest.mark.parametrize("state", [S.TRAINING, S.CONFIRMING, S.FEASIBLE])
def test_one_that_a_device_could_run_in_time_is_reason_for_hope(state: TrialState) -> None:
    assert outlook(trials(middle=state)) == ""


def test_one_end_alone_says_nothing() -> None:
    assert outlook(trials(baseline_ms=10.0)) == ""
    assert outlook(trials(smallest_ms=10.0)) == ""
    assert outlook(trials()[:1]) == ""


def test_two_ends_that_miss_different_budgets_say_nothing() -> None:
    ends = trials()
    ends[0] = a_trial(0, S.TRAINING, size_bytes=9000, verdicts=latency(40.0, device="jetson"))
    assert outlook(ends) == ""
