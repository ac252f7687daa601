from __future__ import annotations

import pytest

from agent.meters.meter import Quantity
from agent.meters.rapl import find_rapl_meters
from tests.fakes.sensor_trees import computer_with_rapl, write_tree

POWERCAP = "sys/class/powercap"


def test_package_and_memory_are_added_and_cores_are_not_counted_twice(tmp_path):
    (meter,) = find_rapl_meters(computer_with_rapl(tmp_path))
    assert (meter.facts.name, meter.facts.scope, meter.quantity) == ("rapl-package", "cpu_package", Quantity.ENERGY_J)
    meter.open()
    try:
        assert meter.read().value == 0.0
        write_tree(
            tmp_path,
            {
                f"{POWERCAP}/intel-rapl:0/energy_uj": str(262_143_000_000 + 300_000),
                f"{POWERCAP}/intel-rapl:0:0/energy_uj": str(90_000_000),
                f"{POWERCAP}/intel-rapl:0:1/energy_uj": str(5_000_000 + 200_000),
            },
        )
        assert meter.read().value == pytest.approx(0.5)
    finally:
        meter.close()


def test_a_counter_that_wraps_goes_on(tmp_path):
    (meter,) = find_rapl_meters(computer_with_rapl(tmp_path))
    meter.open()
    try:
        meter.read()
        write_tree(tmp_path, {f"{POWERCAP}/intel-rapl:0/energy_uj": "671150"})
        assert meter.read().value == pytest.approx(1.0)
    finally:
        meter.close()


def test_opened_again_it_counts_from_zero(tmp_path):
    (meter,) = find_rapl_meters(computer_with_rapl(tmp_path))
    for _ in range(2):
        meter.open()
        assert meter.read().value == 0.0
        meter.close()


def test_the_platform_takes_the_place_of_the_packages_that_it_contains(tmp_path):
    (meter,) = find_rapl_meters(computer_with_rapl(tmp_path, platform=True))
    assert (meter.facts.name, meter.facts.scope) == ("rapl-psys", "platform")
    meter.open()
    try:
        meter.read()
        write_tree(
            tmp_path,
            {
                f"{POWERCAP}/intel-rapl:1/energy_uj": "41000000",
                f"{POWERCAP}/intel-rapl:0:1/energy_uj": "9000000",
            },
        )
        assert meter.read().value == pytest.approx(1.0)
    finally:
        meter.close()


def test_counters_that_answer_nothing_are_no_meter(tmp_path):
    write_tree(computer_with_rapl(tmp_path), {f"{POWERCAP}/intel-rapl:0/energy_uj": ""})
    assert find_rapl_meters(tmp_path) == ()


def test_a_machine_without_counters_has_no_meter(tmp_path):
    assert find_rapl_meters(tmp_path) == ()
