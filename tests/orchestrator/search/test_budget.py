import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.measurement import Measurement, MeasureRequest, Outcome
from orchestrator.search.budget import (
    Budgets,
    Verdict,
    held,
    judge_accuracy,
    judge_measurements,
    judge_size,
    violation,
)
from tests.fakes.small_world import Facts, a_measurement

LIMITS = st.none() | st.floats(min_value=1e-6, max_value=1e12)
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)
BUDGETS = st.builds(
    Budgets,
    latency_p95_ms=LIMITS,
    energy_mj=LIMITS,
    memory_bytes=st.none() | st.integers(1, 2**40),
)
DEVICE_BUDGETS = ("latency_p95_ms", "energy_mj", "memory_bytes")


def a_result(*, latency_ms: float = 1.0, energy_mj: float = 1.0, memory_bytes: int = 1) -> Measurement:
    return a_measurement(
        Facts(size_bytes=1, latency_ms=latency_ms, energy_mj=energy_mj, memory_bytes=memory_bytes),
        result_id="r",
        device_id="d",
        device_class="c",
        request=MeasureRequest(artifact_sha256="a", artifact_size_bytes=1, artifact_format="onnx"),
        confirming=False,
    )


def has_a_device_budget(budgets: Budgets) -> bool:
    return any(getattr(budgets, name) is not None for name in DEVICE_BUDGETS)


@given(budgets=BUDGETS.filter(has_a_device_budget), devices=st.lists(st.text(max_size=3), min_size=1, unique=True))
def test_a_device_that_did_not_measure_holds_nothing(budgets: Budgets, devices: list[str]) -> None:
    verdicts = judge_measurements(budgets, dict.fromkeys(devices))
    assert not any(verdict.held for verdict in verdicts)
    assert not held(verdicts)
    assert violation(verdicts) == math.inf, "it is worse than any excess"


@given(
    budgets=BUDGETS.filter(has_a_device_budget),
    outcome=st.sampled_from([outcome for outcome in Outcome if outcome is not Outcome.OK]),
)
def test_figures_of_a_measurement_that_failed_do_not_count(budgets: Budgets, outcome: Outcome) -> None:
    verdicts = judge_measurements(budgets, {"pi": replace(a_result(), outcome=outcome)})
    assert not held(verdicts)


@given(budgets=BUDGETS, latency_ms=ANY_FLOAT, energy_mj=ANY_FLOAT, memory_bytes=st.integers(0, 2**41))
def test_a_figure_is_held_only_if_its_upper_end_is_within(
    budgets: Budgets, latency_ms: float, energy_mj: float, memory_bytes: int
) -> None:
    result = a_result(latency_ms=latency_ms, energy_mj=energy_mj, memory_bytes=memory_bytes)
    figures = {"latency_p95_ms": latency_ms * 1.02, "energy_mj": energy_mj, "memory_bytes": memory_bytes}
    verdicts = {verdict.budget: verdict for verdict in judge_measurements(budgets, {"pi": result})}
    for budget, figure in figures.items():
        limit = getattr(budgets, budget)
        if limit is None:
            assert budget not in verdicts
        else:
            assert verdicts[budget].held == (figure <= limit)


@given(value=st.none() | ANY_FLOAT, limit=st.floats(min_value=0, max_value=1e12), is_held=st.booleans())
def test_an_excess_is_a_number_that_can_be_compared(value: float | None, limit: float, is_held: bool) -> None:
    excess = Verdict(budget="energy_mj", limit=limit, value=value, held=is_held).excess_fraction()
    assert excess >= 0, "not a number would make every order wrong"
    assert (excess == 0) or not is_held


def test_without_budgets_there_is_no_verdict() -> None:
    nothing = Budgets()
    assert judge_size(nothing, 10**9) == ()
    assert judge_accuracy(nothing, 0.0, 1.0) == ()
    assert judge_measurements(nothing, {"pi": None}) == ()


def test_of_two_floors_the_higher_holds() -> None:
    both = Budgets(accuracy=0.95, accuracy_drop=0.01)
    assert both.accuracy_floor(0.99) == 0.98
    assert both.accuracy_floor(0.90) == 0.95
    assert both.accuracy_floor(None) == 0.95


def test_rounding_is_not_held_against_accuracy() -> None:
    (verdict,) = judge_accuracy(Budgets(accuracy_drop=0.01), 0.98 - 0.01, 0.98)
    assert verdict.held


def test_every_device_must_hold() -> None:
    results = {"pi": a_result(latency_ms=1.0), "jetson": a_result(latency_ms=30.0)}
    verdicts = judge_measurements(Budgets(latency_p95_ms=20.0), results)
    assert {verdict.device: verdict.held for verdict in verdicts} == {"pi": True, "jetson": False}
