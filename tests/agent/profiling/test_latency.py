from __future__ import annotations

import gc
import time
from pathlib import Path

import numpy
import pytest

from agent.profiling.host import Host
from agent.profiling.inputs import Sample
from agent.profiling.latency import Exercise, Plan, WarmUp, is_steady, time_model, warm_up
from agent.profiling.reference import Reference
from agent.runtimes.runtime import Model, TensorSpec

NOWHERE = Host(Path("/nowhere"))


class Scripted(Model):
    """Takes the time that a script says for each inference, and remembers what it was fed."""

    inputs = (TensorSpec(name="x", dtype="float32", shape=(1,)),)
    outputs = inputs
    provider = "test"

    def __init__(self, seconds) -> None:
        self._seconds = seconds
        self.count = 0
        self.fed = []
        self.collecting = set()

    def bind(self, feeds):
        self.fed.append(float(feeds[0][0]))

    def run(self):
        end = time.perf_counter() + self._seconds(self.count)
        self.count += 1
        self.collecting.add(gc.isenabled())
        while time.perf_counter() < end:
            pass

    def fetch(self):
        return []


def exercise(model: Model, *feeds: float) -> Exercise:
    return Exercise(model, [Sample(inputs=(numpy.array([feed]),)) for feed in feeds or (1.0,)])


def run(model: Model, *, typical_ms: float, samples=40, minimum_s=0.05, maximum_s=10.0, feeds=(1.0,), stages=None):
    plan = Plan(minimum_samples=samples, minimum_duration_s=minimum_s, maximum_duration_s=maximum_s)
    warmed = WarmUp(count=10, steady_state=True, typical_ns=typical_ms * 1e6)
    return time_model(exercise(model, *feeds), plan, warmed, NOWHERE, [].append if stages is None else stages.append)


@pytest.mark.parametrize(
    ("medians", "steady"),
    [
        ([10.0, 10.0], False),
        ([10.0, 10.1, 10.05], True),
        ([10.0, 10.1, 10.5], False),
        ([30.0, 20.0, 12.0, 10.0, 10.1, 10.0], False),
        ([30.0, 10.0, 10.1, 10.0, 10.1, 10.0, 10.1, 10.0, 10.05], True),
        ([10.0, 10.01, 10.02, 10.03, 10.04, 10.05, 10.06, 10.07], False),
    ],
)
def test_steady_is_when_batches_agree_and_show_no_trend(medians, steady):
    assert is_steady(medians) is steady


def test_the_warm_up_ends_at_its_limit_and_says_so():
    model = Scripted(lambda index: 0.002 * 1.15**index)
    warmed = warm_up(exercise(model), minimum_s=0.05, maximum_s=0.3)
    assert not warmed.steady_state
    assert warmed.count == model.count


def test_the_warm_up_lasts_its_minimum_however_steady_the_model_is():
    began = time.perf_counter()
    warmed = warm_up(exercise(Scripted(lambda index: 0.002)), minimum_s=0.3, maximum_s=5.0)
    assert time.perf_counter() - began >= 0.3
    assert warmed.count >= 10
    assert warmed.typical_ns >= 2e6


def test_the_samples_are_what_the_model_took():
    timed = run(Scripted(lambda index: 0.002), typical_ms=2.0)
    assert len(timed.samples_ns) >= 40
    assert timed.block_size == 1
    assert timed.samples_ns.min() >= 2e6
    assert timed.observations.complete


def test_both_minima_are_met():
    assert len(run(Scripted(lambda index: 0.0002), typical_ms=0.2, samples=300, minimum_s=0.0).samples_ns) >= 300
    long = run(Scripted(lambda index: 0.0002), typical_ms=0.2, samples=5, minimum_s=0.4)
    assert long.duration_s >= 0.4


def test_the_time_limit_ends_a_run():
    timed = run(Scripted(lambda index: 0.01), typical_ms=10.0, samples=10_000, maximum_s=0.2)
    assert 1 <= len(timed.samples_ns) < 10_000
    assert not timed.observations.complete


def test_at_least_one_inference_is_timed():
    assert len(run(Scripted(lambda index: 0.3), typical_ms=300.0, samples=5, maximum_s=0.0).samples_ns) == 1


def test_very_short_inferences_are_timed_in_blocks():
    timed = run(Scripted(lambda index: 0.0), typical_ms=0.005)
    assert timed.block_size == 200
    assert timed.samples_ns.min() < 1e6


def test_inputs_take_turns():
    model = Scripted(lambda index: 0.001)
    run(model, typical_ms=1.0, feeds=(1.0, 2.0, 3.0))
    assert model.fed[:7] == [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]


def test_a_single_input_is_bound_once():
    model = Scripted(lambda index: 0.001)
    run(model, typical_ms=1.0)
    assert model.fed == [1.0]


def test_the_garbage_collector_rests_while_a_model_is_timed():
    model = Scripted(lambda index: 0.001)
    run(model, typical_ms=1.0)
    assert model.collecting == {False}
    assert gc.isenabled()


def test_a_model_that_slows_down_drifts():
    timed = run(Scripted(lambda index: 0.001 if index < 60 else 0.002), typical_ms=1.5, samples=120, minimum_s=0.1)
    assert timed.observations.drift_fraction > 0.5


def test_progress_is_told_between_windows():
    stages: list[str] = []
    timed = run(Scripted(lambda index: 0.001), typical_ms=1.0, stages=stages)
    assert len(stages) == 5
    assert stages[-1].startswith(f"timing {len(timed.samples_ns)} of ")


def test_a_reference_that_takes_longer_has_moved(monkeypatch):
    timings = iter([100.0, 101.0, 109.0, 99.0])
    monkeypatch.setattr("agent.profiling.reference._time_ns", lambda: next(timings))
    reference = Reference()
    assert reference.shift_fraction() == 0.0
    for _ in range(3):
        reference.time()
    assert reference.shift_fraction() == pytest.approx(0.09)
