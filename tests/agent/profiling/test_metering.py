from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy
import pytest

from agent.meters.hwmon import HwmonMeter, Rail
from agent.meters.meter import MeterFacts, Quantity, Reading, SampledMeter
from agent.profiling.blocks import run_blocks
from agent.profiling.exclusion import HostLock
from agent.profiling.inputs import Sample
from agent.profiling.latency import Exercise
from agent.profiling.measurement import MeasureRequest, Outcome, Provenance
from agent.profiling.metering import Metering
from agent.profiling.profiler import Profiler
from agent.profiling.sampling import Sampler
from agent.profiling.worker_protocol import BlockKind, EnergySchedule
from agent.runtimes.runtime import Model, TensorSpec
from tests.fakes.sensor_trees import board_with_ina226

WILD_RUNTIME = Path(__file__).parents[3] / "tests" / "fakes" / "wild_runtime"


class WorkerMeter(SampledMeter):
    """Draws three watts more while the worker wants a processor, as a board does."""

    facts = MeterFacts(name="worker", provenance=Provenance.MEASURED, scope="board")
    quantity = Quantity.POWER_W
    rate_hz = 25.0
    minimum_window_s = 0.24
    gain_error_fraction = 0.01

    def __init__(self, process_file: Path, *, opens: bool = True) -> None:
        self.process_file = process_file
        self.opens = opens
        self.open_count = 0

    def open(self):
        if not self.opens:
            raise PermissionError(13, "Permission denied")
        self.open_count += 1

    def read(self):
        return Reading(time_ns=time.monotonic_ns(), value=5.0 if wants_processor(self.process_file) else 2.0)

    def close(self):
        self.open_count = 0


class QuickHwmonMeter(HwmonMeter):
    """Patient enough for a test only."""

    rate_hz = 25.0
    minimum_window_s = 0.24


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch):
    monkeypatch.setattr("agent.profiling.metering._READINGS_PER_BLOCK", 6)


def wants_processor(process_file: Path) -> bool:
    try:
        return Path(f"/proc/{process_file.read_text()}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except (FileNotFoundError, ProcessLookupError):
        return False


def measure(tmp_path, monkeypatch, meter):
    monkeypatch.setenv("PYTHONPATH", str(WILD_RUNTIME))
    (tmp_path / "model.wild").write_text(f"behave_busily {tmp_path / 'process.id'}")
    request = MeasureRequest(
        artifact_sha256="", artifact_size_bytes=0, artifact_format="wild", minimum_samples=80,
        minimum_duration_s=0.1, maximum_duration_s=0.5,
    )  # fmt: skip
    profiler = Profiler(meters=[meter], host_lock=HostLock(tmp_path / "lock"))
    measurement = asyncio.run(
        profiler.measure(
            request, artifact_path=tmp_path / "model.wild", golden_path=None, on_progress=lambda stage: None
        )
    )
    assert measurement.outcome is Outcome.OK, measurement.detail
    return measurement


def test_a_meter_is_read_while_the_worker_rests_and_works(tmp_path, monkeypatch):
    meter = WorkerMeter(tmp_path / "process.id")
    measurement = measure(tmp_path, monkeypatch, meter)
    energy, p50_ms = measurement.energy, measurement.latency.p50_ms.value
    assert energy.provenance is Provenance.MEASURED
    assert (energy.meter, energy.scope) == ("worker", "board")
    assert energy.net_mj is not None, energy.remark
    # Idle is 2 W and load 5 W, so the net figure is three fifths of the gross one, however busy this machine is.
    assert energy.net_mj / energy.gross_mj == pytest.approx(0.6, abs=0.1)
    assert energy.lower_mj < energy.net_mj < energy.upper_mj
    assert energy.gross_mj > 0.5 * 5.0 * p50_ms
    assert meter.open_count == 0


def test_a_constant_power_has_no_net_figure(tmp_path, monkeypatch):
    board_with_ina226(tmp_path)
    rail = Rail(label="", power=tmp_path / "sys/class/hwmon/hwmon1/power1_input")
    meter = QuickHwmonMeter(name="ina226", scope="board", rails=[rail], update_interval_ms=None)
    energy = measure(tmp_path, monkeypatch, meter).energy
    assert energy.net_mj is None
    assert "cannot be told from the idle power" in energy.remark
    assert energy.gross_mj > 0


def test_a_meter_that_cannot_be_opened_gives_the_reason_and_no_estimate(tmp_path, monkeypatch):
    energy = measure(tmp_path, monkeypatch, WorkerMeter(tmp_path / "process.id", opens=False)).energy
    assert (energy.gross_mj, energy.net_mj) == (None, None)
    assert energy.remark == "the meter cannot be read: Permission denied"
    assert energy.provenance is Provenance.MEASURED


def test_blocks_are_as_long_as_the_meter_needs(tmp_path):
    meter = WorkerMeter(tmp_path / "process.id")
    schedule = Metering(meter).schedule()
    assert (schedule.pairs, schedule.block_s) == (3, 0.24)
    meter.minimum_window_s = 20.0
    schedule = Metering(meter).schedule()
    assert (schedule.block_s, schedule.guard_s) == (20.0, 2.0)
    assert schedule.duration_s == 134.0
    meter.rate_hz = 0.3
    schedule = Metering(meter).schedule()
    # Even a guard holds a few readings, so that one lies on either side of each edge.
    assert (schedule.block_s, schedule.guard_s) == (20.0, 10.0)


def test_without_a_sensor_there_are_no_blocks():
    assert Metering(None).schedule() is None


class Stumbling(WorkerMeter):
    """Fails every other time."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.count = 0

    def read(self):
        self.count += 1
        if self.count % 2:
            raise OSError(5, "Input/output error")
        return Reading(time_ns=time.monotonic_ns(), value=float(self.count))


def test_a_reading_that_fails_is_a_gap_and_no_end():
    meter = Stumbling()
    sampler = Sampler(meter)
    sampler.start()
    while meter.count < 10:
        time.sleep(0.01)
    readings = sampler.stop()
    assert len(readings) == meter.count // 2
    assert sampler.stop() is readings
    assert meter.open_count == 0


def test_the_last_reading_comes_after_the_last_block(tmp_path):
    meter = WorkerMeter(tmp_path / "process.id")
    meter.rate_hz = 0.001
    sampler = Sampler(meter)
    sampler.start()
    time.sleep(0.05)
    end_ns = time.monotonic_ns()
    assert sampler.stop()[-1].time_ns >= end_ns


class Counted(Model):
    """Knows how often it ran."""

    inputs = outputs = (TensorSpec(name="x", dtype="float32", shape=(1,)),)
    provider = "test"
    count = 0

    def bind(self, feeds):
        pass

    def run(self):
        self.count += 1
        time.sleep(0.005)

    def fetch(self):
        return []


def test_the_model_goes_on_behind_the_last_block():
    model = Counted()
    exercise = Exercise(model, [Sample(inputs=(numpy.ones(1),))])
    blocks = run_blocks(exercise, EnergySchedule(pairs=1, block_s=0.05, guard_s=0.05, minimum_inferences=2))
    after_s = (time.monotonic_ns() - blocks[-1].end_ns) / 1e9
    assert [block.kind for block in blocks] == [BlockKind.IDLE, BlockKind.LOAD]
    assert blocks[0].end_ns < blocks[1].begin_ns
    assert after_s >= 0.05
    # Once at least in the guard before the block, and once in the one behind it.
    assert model.count >= blocks[1].inferences + 2


def test_a_load_block_of_slow_inferences_goes_on_for_a_while():
    exercise = Exercise(Counted(), [Sample(inputs=(numpy.ones(1),))])
    enough = run_blocks(exercise, EnergySchedule(pairs=1, block_s=0.05, guard_s=0.0, minimum_inferences=2))
    assert enough[1].inferences >= 2
    cut = run_blocks(exercise, EnergySchedule(pairs=1, block_s=0.02, guard_s=0.0, minimum_inferences=10_000))
    assert 1 <= cut[1].inferences < 10_000
