from __future__ import annotations

from agent.meters.catalogue import available_meters
from tests.fakes.sensor_trees import board_with_ina226, computer_with_rapl, jetson_with_ina3221


def names(root) -> list[str]:
    return [meter.facts.name for meter in available_meters(root)]


def test_without_a_sensor_there_is_the_estimate(tmp_path):
    assert names(tmp_path) == ["estimate"]


def test_what_covers_more_comes_first_and_the_estimate_last(tmp_path):
    computer_with_rapl(jetson_with_ina3221(board_with_ina226(tmp_path)))
    assert names(tmp_path) == [
        "ina226-hwmon1",
        "ina3221-vdd_in",
        "ina3221-hwmon3-sum",
        "rapl-package",
        "estimate",
    ]


def test_meters_of_other_packages_come_before_the_built_in_ones(tmp_path, monkeypatch):
    package = tmp_path / "package"
    (package / "bench_meter-1.0.dist-info").mkdir(parents=True)
    (package / "bench_meter-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bench-meter\nVersion: 1\n"
    )
    (package / "bench_meter-1.0.dist-info" / "entry_points.txt").write_text(
        "[fleetfit.meters]\nbench = bench_meter:find\n"
    )
    (package / "bench_meter.py").write_text(
        "from agent.meters.estimate import EstimateMeter, PowerProfile\n"
        "class Bench(EstimateMeter):\n"
        "    @property\n"
        "    def facts(self):\n"
        "        return __import__('dataclasses').replace(super().facts, name='bench')\n"
        "def find(root):\n"
        "    return [Bench(PowerProfile(name='bench', idle_w=1.0, busy_core_w=1.0))]\n"
    )
    monkeypatch.syspath_prepend(str(package))
    assert names(board_with_ina226(tmp_path)) == ["bench", "ina226-hwmon1", "estimate"]
