from __future__ import annotations

import os

import pytest

from agent.meters.estimate import EstimateMeter, PowerProfile, find_estimate_meter
from agent.profiling.measurement import Provenance
from tests.fakes.sensor_trees import write_tree

METER = EstimateMeter(PowerProfile(name="a board", idle_w=2.0, busy_core_w=1.5))


def test_watts_times_milliseconds_are_millijoules():
    estimate = METER.estimate(latency_ms=4.0, threads=2)
    assert estimate.gross_mj == pytest.approx((2.0 + 2 * 1.5) * 4.0)
    assert estimate.net_mj == pytest.approx(2 * 1.5 * 4.0)


def test_all_processors_are_busy_when_the_runtime_chooses_the_threads():
    assert METER.estimate(latency_ms=1.0, threads=0).net_mj == pytest.approx(1.5 * (os.cpu_count() or 1))


def test_an_estimate_says_that_it_is_one_and_from_what():
    assert METER.facts.provenance is Provenance.ESTIMATED
    assert METER.facts.scope == "model"
    remark = METER.estimate(latency_ms=4.0, threads=1).remark
    for part in ("no sensor", "1.5 W", "1 busy core", "2 W idle", "a board", "4 ms"):
        assert part in remark


@pytest.mark.parametrize(
    ("board", "name"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0\0", "Raspberry Pi 5"),
        ("Raspberry Pi 4 Model B Rev 1.4\0", "Raspberry Pi 4"),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "Jetson Orin"),
    ],
)
def test_a_known_board_is_found_by_its_name(tmp_path, board, name):
    meter = find_estimate_meter(write_tree(tmp_path, {"proc/device-tree/model": board}))
    assert f"({name}, " in meter.estimate(latency_ms=1.0, threads=1).remark


@pytest.mark.parametrize(("machine", "name"), [("aarch64", "aarch64 board"), ("riscv64", "unknown computer")])
def test_an_unknown_board_is_estimated_by_its_architecture(tmp_path, monkeypatch, machine, name):
    monkeypatch.setattr("agent.meters.estimate.platform.machine", lambda: machine)
    assert name in find_estimate_meter(tmp_path).estimate(latency_ms=1.0, threads=1).remark
