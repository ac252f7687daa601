"""Comparing two models: what cancels, and how often the interval is right."""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

import pytest

from agent.errors import NotMeasuredError
from agent.profiling.measurement import Latency, Quality
from agent.standalone.comparison import Comparison, Conclusion, Pair, compare, comparison_of
from agent.standalone.profile import request_for
from tests.agent.standalone.bench import Bench, a_latency


def compared(bench: Bench, folder: Path, *, pairs: int = 6) -> Comparison:
    models = []
    for name in ("a.onnx", "b.onnx"):
        path = folder / name
        path.write_bytes(b"model")
        models.append((path, request_for(path, runtime="", threads=1, samples=200)))
    comparison, _, _ = asyncio.run(compare(bench, *models, pairs=pairs, on_progress=lambda stage: None))
    return comparison


def test_runs_are_interleaved_so_that_each_model_is_as_often_first(tmp_path: Path) -> None:
    bench = Bench(lambda path, index: a_latency())
    compared(bench, tmp_path, pairs=4)
    assert [name[0] for name in bench.measured] == list("abbaabba")


def test_a_device_that_slows_down_steadily_does_not_make_the_second_model_slower(tmp_path: Path) -> None:
    """Both models are equal, and each run is 1 % slower than the one before; one after the other would show 6 %."""
    comparison = compared(Bench(lambda path, index: a_latency(2.0 * 1.01**index)), tmp_path)
    assert comparison.ratio == pytest.approx(1.0, abs=0.002)
    assert comparison.conclusion is Conclusion.UNDECIDED


@pytest.mark.parametrize(("factor", "conclusion"), [(0.8, Conclusion.FASTER), (1.25, Conclusion.SLOWER)])
def test_a_clear_difference_is_told(tmp_path: Path, factor: float, conclusion: Conclusion) -> None:
    noise = random.Random(4)  # noqa: S311

    def latency(path: Path, index: int) -> Latency:
        return a_latency(2.0 * (factor if path.name == "b.onnx" else 1.0) * math.exp(noise.gauss(0, 0.01)))

    comparison = compared(Bench(latency), tmp_path)
    assert comparison.conclusion is conclusion
    assert comparison.lower <= factor <= comparison.upper
    assert comparison.lower < comparison.ratio < comparison.upper


@pytest.mark.parametrize("pairs", [3, 6, 31])
def test_the_interval_holds_the_truth_in_about_95_of_100_comparisons(pairs: int) -> None:
    noise = random.Random(pairs)  # noqa: S311
    held = 0
    for _ in range(1000):
        comparison = comparison_of(
            [
                Pair(first_ms=2.0 * math.exp(noise.gauss(0, 0.03)), second_ms=2.4 * math.exp(noise.gauss(0, 0.03)))
                for _ in range(pairs)
            ],
            disturbed_runs=0,
        )
        held += comparison.lower <= 1.2 <= comparison.upper
    assert 930 <= held <= 970


def test_disturbed_runs_are_counted(tmp_path: Path) -> None:
    comparison = compared(
        Bench(lambda path, index: a_latency(quality=Quality.LOW if index < 3 else Quality.HIGH)), tmp_path
    )
    assert comparison.disturbed_runs == 3


def test_a_model_that_is_too_slow_for_a_median_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotMeasuredError, match="too slow"):
        compared(Bench(lambda path, index: a_latency(with_p50=False)), tmp_path)
