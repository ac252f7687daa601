from __future__ import annotations

import os

import pytest

from agent.meters.hwmon import find_hwmon_meters
from agent.meters.meter import Quantity
from agent.profiling.measurement import Provenance
from tests.fakes.sensor_trees import board_with_ina226, jetson_with_ina3221, write_tree


def read_w(meter) -> float:
    meter.open()
    try:
        return meter.read().value
    finally:
        meter.close()


def test_an_ina226_measures_the_board(tmp_path):
    (meter,) = find_hwmon_meters(board_with_ina226(tmp_path))
    assert (meter.facts.name, meter.facts.scope) == ("ina226-hwmon1", "board")
    assert meter.facts.provenance is Provenance.MEASURED
    assert meter.quantity is Quantity.POWER_W
    assert read_w(meter) == 3.25


@pytest.mark.parametrize(("interval_ms", "rate_hz"), [("35", 1000 / 35), ("2", 100.0), ("0", 100.0), ("soon", 100.0)])
def test_a_sensor_is_read_no_more_often_than_it_has_something_new(tmp_path, interval_ms, rate_hz):
    write_tree(board_with_ina226(tmp_path), {"sys/class/hwmon/hwmon1/update_interval": interval_ms})
    (meter,) = find_hwmon_meters(tmp_path)
    assert meter.rate_hz == pytest.approx(rate_hz)


def test_power_is_voltage_times_current_where_the_chip_does_not_multiply(tmp_path):
    (board_with_ina226(tmp_path) / "sys/class/hwmon/hwmon1/power1_input").unlink()
    (meter,) = find_hwmon_meters(tmp_path)
    assert read_w(meter) == pytest.approx(5.0 * 0.65)


def test_a_jetson_thor_names_its_input(tmp_path):
    hwmon = "sys/class/hwmon/hwmon0"
    files = {f"{hwmon}/name": "ina238", f"{hwmon}/in1_label": "VIN", f"{hwmon}/power1_input": "31000000"}
    (meter,) = find_hwmon_meters(write_tree(tmp_path, files))
    assert meter.facts.name == "ina238-vin"
    assert read_w(meter) == 31.0


def test_a_module_is_measured_by_the_rail_that_feeds_it_or_by_the_sum(tmp_path):
    by_name = {meter.facts.name: meter for meter in find_hwmon_meters(jetson_with_ina3221(tmp_path))}
    assert read_w(by_name["ina3221-vdd_in"]) == pytest.approx(6.0)
    # The channel that is not connected reads nonsense, and is left out.
    assert read_w(by_name["ina3221-hwmon3-sum"]) == pytest.approx(19.0 * 0.15)
    assert {meter.facts.scope for meter in by_name.values()} == {"module"}


def test_what_measures_the_board_comes_first(tmp_path):
    meters = find_hwmon_meters(jetson_with_ina3221(board_with_ina226(tmp_path)))
    assert [meter.facts.scope for meter in meters] == ["board", "module", "module"]


@pytest.mark.parametrize("power", ["", "broken", "-1", "99999999999"])
def test_a_sensor_that_answers_nonsense_is_no_meter(tmp_path, power):
    write_tree(board_with_ina226(tmp_path), {"sys/class/hwmon/hwmon1/power1_input": power})
    assert find_hwmon_meters(tmp_path) == ()


def test_a_new_value_is_seen_through_the_open_file(tmp_path):
    (meter,) = find_hwmon_meters(board_with_ina226(tmp_path))
    meter.open()
    try:
        first = meter.read()
        descriptor = os.open(tmp_path / "sys/class/hwmon/hwmon1/power1_input", os.O_WRONLY)
        os.pwrite(descriptor, b"4000000\n", 0)
        os.close(descriptor)
        second = meter.read()
    finally:
        meter.close()
    assert (first.value, second.value) == (3.25, 4.0)
    assert second.time_ns > first.time_ns


def test_a_sensor_that_goes_away_cannot_be_opened(tmp_path):
    (meter,) = find_hwmon_meters(board_with_ina226(tmp_path))
    (tmp_path / "sys/class/hwmon/hwmon1/power1_input").unlink()
    with pytest.raises(OSError, match="No such file"):
        meter.open()
