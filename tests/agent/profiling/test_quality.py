from __future__ import annotations

from dataclasses import replace

import pytest

from agent.profiling.measurement import Quality
from agent.profiling.quality import Observations, concerns_about, verdict

QUIET = Observations(
    steady_state=True,
    contaminated_fraction=0.05,
    reference_shift_fraction=-0.04,
    drift_fraction=-0.5,
    stolen_fraction=0.01,
    clock_fraction=0.99,
)


def test_a_quiet_run_is_of_high_quality():
    assert concerns_about(QUIET) == ()
    assert verdict(()) is Quality.HIGH


def test_a_clock_that_is_not_told_is_no_concern():
    assert concerns_about(replace(QUIET, clock_fraction=None)) == ()


@pytest.mark.parametrize(
    ("change", "concern"),
    [
        ({"steady_state": False}, "not steady after the longest warm-up"),
        ({"contaminated_fraction": 0.25}, "other tasks took the processor in 25% of the run"),
        ({"reference_shift_fraction": 0.09}, "reference moved by +9%"),
        ({"reference_shift_fraction": -0.09}, "reference moved by -9%"),
        ({"drift_fraction": 0.07}, "slowed down by 7% while it was timed"),
        ({"stolen_fraction": 0.1}, "the hypervisor took 10% of the processor time"),
        ({"clock_fraction": 0.6}, "clocked at 60% of the highest frequency"),
        ({"throttling": ("under-voltage",)}, "held back while it was timed: under-voltage"),
        ({"complete": False}, "ended by the time limit before enough was timed"),
    ],
)
def test_each_disturbance_is_a_concern(change, concern):
    concerns = concerns_about(replace(QUIET, **change))
    assert concerns == (concern,)
    assert verdict(concerns) is Quality.LOW
