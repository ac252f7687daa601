"""What every energy meter keeps to, whoever wrote it."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import pytest

from agent.meters.catalogue import available_meters
from agent.meters.meter import EstimatingMeter, Meter, Quantity, SampledMeter
from agent.profiling.measurement import Provenance
from tests.fakes.sensor_trees import board_with_ina226, computer_with_rapl, jetson_with_ina3221

MACHINES = {
    "bare": lambda root: root,
    "ina226": board_with_ina226,
    "ina3221": jetson_with_ina3221,
    "rapl": computer_with_rapl,
    "this": lambda root: Path("/"),
}


@pytest.fixture(params=MACHINES)
def meters(request, tmp_path) -> tuple[Meter, ...]:
    return available_meters(MACHINES[request.param](tmp_path))


def sampled(meters) -> list[SampledMeter]:
    return [meter for meter in meters if isinstance(meter, SampledMeter)]


def test_there_is_always_a_meter_and_names_differ(meters):
    names = [meter.facts.name for meter in meters]
    assert names
    assert len(set(names)) == len(names)


def test_a_meter_says_what_it_is(meters):
    for meter in meters:
        assert meter.facts.name
        assert meter.facts.scope
        assert meter.facts == meter.facts
        assert isinstance(meter, SampledMeter) != isinstance(meter, EstimatingMeter)


def test_only_what_reads_a_sensor_is_measured(meters):
    for meter in meters:
        if isinstance(meter, EstimatingMeter):
            assert meter.facts.provenance is Provenance.ESTIMATED
        else:
            assert meter.facts.provenance is not Provenance.ESTIMATED


def test_a_sensor_states_rate_window_and_error(meters):
    for meter in sampled(meters):
        assert 0 < meter.rate_hz <= 1000
        assert 0 < meter.minimum_window_s <= 600
        assert 0 <= meter.gain_error_fraction < 1


def test_readings_are_finite_and_in_the_order_of_time(meters):
    for meter in sampled(meters):
        meter.open()
        try:
            readings = [meter.read() for _ in range(5)]
        finally:
            meter.close()
        assert all(math.isfinite(reading.value) for reading in readings)
        assert all(first.time_ns <= second.time_ns for first, second in pairwise(readings))
        if meter.quantity is Quantity.ENERGY_J:
            assert all(first.value <= second.value for first, second in pairwise(readings))


def test_closing_is_harmless_and_a_meter_may_be_opened_again(meters):
    for meter in sampled(meters):
        meter.close()
        for _ in range(2):
            meter.open()
            meter.read()
            meter.close()
        meter.close()


def test_an_estimate_grows_with_time_and_has_its_idle_share(meters):
    for meter in meters:
        if isinstance(meter, EstimatingMeter):
            short, long = (meter.estimate(latency_ms=latency_ms, threads=1) for latency_ms in (1.0, 2.0))
            assert 0 < short.net_mj <= short.gross_mj < long.gross_mj
            assert short.remark
