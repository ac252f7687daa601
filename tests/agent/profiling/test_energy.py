from __future__ import annotations

import random
from itertools import accumulate

import numpy
import pytest

from agent.meters.meter import MeterFacts, Quantity, Reading
from agent.profiling.blocks import block_order
from agent.profiling.energy import energy_per_inference, integrate
from agent.profiling.measurement import Provenance
from agent.profiling.sampling import intervals_s
from agent.profiling.worker_protocol import BlockKind, EnergyBlock

SEED = 11
FACTS = MeterFacts(name="bench", provenance=Provenance.MEASURED, scope="board")
NS = 1_000_000_000


def readings_of(power_w, *, duration_s: float, rate_hz: float, seed: int = SEED, noise_w: float = 0.0):
    """What a meter reads of a power over time, at the times at which the agent would read it."""
    generator, noise = random.Random(seed), numpy.random.default_rng(seed)  # noqa: S311
    times_s = [0.0]
    for time_s in accumulate(intervals_s(rate_hz, generator)):
        times_s.append(time_s)
        if time_s > duration_s:
            break
    return [
        Reading(time_ns=round(time_s * NS), value=power_w(time_s) + noise_w * noise.standard_normal())
        for time_s in times_s
    ]


def blocks_of(pairs: int, *, block_s: float, guard_s: float = 1.0, inferences: int = 100):
    """Blocks one after the other, each behind its guard."""
    blocks, now_s = [], 1.0
    for kind in block_order(pairs):
        begin_ns = round((now_s + guard_s) * NS)
        count = inferences if kind is BlockKind.LOAD else 0
        blocks.append(
            EnergyBlock(kind=kind, begin_ns=begin_ns, end_ns=begin_ns + round(block_s * NS), inferences=count)
        )
        now_s += guard_s + block_s
    return blocks, now_s + 1.0


def kind_at(blocks, time_s: float) -> BlockKind:
    for block in blocks:
        if time_s * NS <= block.end_ns:
            return block.kind
    return BlockKind.IDLE


def energy_of(blocks, readings, *, rate_hz: float, quantity=Quantity.POWER_W, gain_error_fraction: float = 0.0):
    return energy_per_inference(
        blocks,
        readings,
        facts=FACTS,
        quantity=quantity,
        interval_s=1 / rate_hz,
        gain_error_fraction=gain_error_fraction,
    )


def inference_power(idle_w: float, period_s: float):
    """Five watts more for the first third of each inference: a curve whose integral is known."""
    return lambda time_s: idle_w + (5.0 if time_s % period_s < period_s / 3 else 0.0)


@pytest.mark.parametrize(
    ("rate_hz", "period_s", "largest_error"), [(100.0, 0.0437, 0.01), (10.0, 0.1, 0.03), (10.0, 0.0437, 0.03)]
)
def test_the_energy_of_a_known_curve_is_found(rate_hz, period_s, largest_error):
    blocks, duration_s = blocks_of(3, block_s=30.0, inferences=round(30.0 / period_s))
    busy = inference_power(2.0, period_s)

    def power_w(time_s):
        return busy(time_s) if kind_at(blocks, time_s) is BlockKind.LOAD else 2.0

    energy = energy_of(blocks, readings_of(power_w, duration_s=duration_s, rate_hz=rate_hz), rate_hz=rate_hz)
    milliseconds = 30.0 / round(30.0 / period_s) * 1e3
    assert energy.net_mj == pytest.approx(5.0 / 3 * milliseconds, rel=largest_error)
    assert energy.gross_mj == pytest.approx((2.0 + 5.0 / 3) * milliseconds, rel=largest_error)
    assert energy.lower_mj < energy.net_mj < energy.upper_mj
    assert (energy.meter, energy.scope, energy.provenance) == ("bench", "board", Provenance.MEASURED)


def test_a_slow_meter_read_evenly_would_be_wrong():
    # The same curve read at the very period of the inference: it always meets the high part.
    period_s = 0.1
    power_w = inference_power(2.0, period_s)
    even = [Reading(time_ns=round((0.01 + index * period_s) * NS), value=power_w(0.01)) for index in range(400)]
    found = integrate(even, quantity=Quantity.POWER_W, begin_ns=NS, end_ns=31 * NS, interval_s=period_s)
    assert found.energy_j / 30 > 1.5 * (2.0 + 5.0 / 3)


def test_the_interval_contains_the_truth_as_often_as_it_says():
    hits, runs, rate_hz = 0, 200, 20.0
    for seed in range(runs):
        blocks, duration_s = blocks_of(3, block_s=6.0)
        wander = numpy.random.default_rng(1000 + seed).normal(0.0, 0.02, len(blocks))

        def power_w(time_s, blocks=blocks, wander=wander):
            index = next((index for index, block in enumerate(blocks) if time_s * NS <= block.end_ns), 0)
            return 2.0 + wander[index] + (1.0 if blocks[index].kind is BlockKind.LOAD else 0.0)

        readings = readings_of(power_w, duration_s=duration_s, rate_hz=rate_hz, seed=seed, noise_w=0.05)
        energy = energy_of(blocks, readings, rate_hz=rate_hz)
        hits += energy.lower_mj <= 1.0 * 60.0 <= energy.upper_mj
    assert hits >= 0.93 * runs


def test_alternating_blocks_beat_an_idle_power_taken_once():
    blocks, duration_s = blocks_of(3, block_s=10.0)

    def power_w(time_s):
        drift_w = 0.1 * time_s / duration_s
        return 2.0 + drift_w + (1.0 if kind_at(blocks, time_s) is BlockKind.LOAD else 0.0)

    readings = readings_of(power_w, duration_s=duration_s, rate_hz=100.0)
    truth_mj = 100.0
    energy = energy_of(blocks, readings, rate_hz=100.0)
    powers_w = [
        integrate(
            readings, quantity=Quantity.POWER_W, begin_ns=block.begin_ns, end_ns=block.end_ns, interval_s=0.01
        ).energy_j
        / 10.0
        for block in blocks
    ]
    loads_w = [power for power, block in zip(powers_w, blocks, strict=True) if block.kind is BlockKind.LOAD]
    idle_once_mj = (sum(loads_w) / 3 - powers_w[0]) * 100.0
    assert abs(energy.net_mj - truth_mj) < 0.25 * abs(idle_once_mj - truth_mj)


def test_a_counter_is_interpolated_at_the_edges():
    readings = [Reading(time_ns=round(time_s * NS), value=7.0 * time_s) for time_s in numpy.arange(0.0, 20.0, 0.37)]
    found = integrate(readings, quantity=Quantity.ENERGY_J, begin_ns=2 * NS, end_ns=12 * NS, interval_s=0.37)
    assert found.energy_j == pytest.approx(70.0)
    assert found.coverage_fraction == 1.0


def test_a_power_is_cut_at_the_edges():
    readings = [Reading(time_ns=round(time_s * NS), value=time_s) for time_s in numpy.arange(0.0, 20.0, 0.3)]
    found = integrate(readings, quantity=Quantity.POWER_W, begin_ns=2 * NS, end_ns=12 * NS, interval_s=0.3)
    assert found.energy_j == pytest.approx((12**2 - 2**2) / 2)


def test_a_load_that_does_not_show_has_no_net_figure():
    blocks, duration_s = blocks_of(3, block_s=10.0)
    readings = readings_of(lambda time_s: 3.0, duration_s=duration_s, rate_hz=100.0, noise_w=0.2)
    energy = energy_of(blocks, readings, rate_hz=100.0)
    assert energy.net_mj is None
    assert "cannot be told from the idle power" in energy.remark
    assert energy.gross_mj == pytest.approx(300.0, rel=0.01)
    assert energy.lower_mj <= energy.gross_mj <= energy.upper_mj


def test_the_gain_error_widens_the_interval():
    blocks, duration_s = blocks_of(3, block_s=10.0)

    def power_w(time_s):
        return 3.0 if kind_at(blocks, time_s) is BlockKind.LOAD else 2.0

    readings = readings_of(power_w, duration_s=duration_s, rate_hz=100.0)
    energy = energy_of(blocks, readings, rate_hz=100.0, gain_error_fraction=0.05)
    assert energy.lower_mj == pytest.approx(95.0, rel=1e-3)
    assert energy.upper_mj == pytest.approx(105.0, rel=1e-3)


def test_a_meter_that_falls_silent_for_long_gives_no_figure():
    blocks, duration_s = blocks_of(3, block_s=10.0)
    readings = readings_of(lambda time_s: 3.0, duration_s=duration_s, rate_hz=100.0)
    silent = [reading for reading in readings if not 3 * NS < reading.time_ns < 7 * NS]
    energy = energy_of(blocks, silent, rate_hz=100.0)
    assert (energy.gross_mj, energy.net_mj, energy.lower_mj, energy.upper_mj) == (None, None, None, None)
    assert "answered in" in energy.remark


def test_a_short_silence_is_told():
    blocks, duration_s = blocks_of(3, block_s=10.0)
    readings = readings_of(lambda time_s: 3.0, duration_s=duration_s, rate_hz=100.0)
    silent = [reading for reading in readings if not 3 * NS < reading.time_ns < 4 * NS]
    energy = energy_of(blocks, silent, rate_hz=100.0)
    assert energy.gross_mj is not None
    assert "answered in 90% of the time" in energy.remark


@pytest.mark.parametrize("readings", [[], [Reading(time_ns=0, value=1.0)]])
def test_a_meter_that_was_not_read_gives_no_figure(readings):
    blocks, _ = blocks_of(3, block_s=1.0)
    assert energy_of(blocks, readings, rate_hz=10.0).gross_mj is None


def test_blocks_alternate_so_that_a_drift_cancels():
    idle, load = BlockKind.IDLE, BlockKind.LOAD
    assert block_order(3) == (idle, load, load, idle, idle, load)
