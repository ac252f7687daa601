from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.profiling.gate import inspect
from agent.profiling.host import Host, StolenTime

FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"


def tree_of(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_machine_that_tells_nothing_is_not_guessed_at(tmp_path):
    host = Host(tmp_path)
    assert host.pressure_us() is None
    assert host.load_average() is None
    assert host.available_memory_bytes() is None
    assert host.memory_kill_count() is None
    assert host.stolen_time() is None
    assert host.governor() == ""
    assert host.temperature_c() is None
    assert host.clock_fraction() is None
    assert host.throttling().active == ()


def test_a_machine_is_read(tmp_path):
    files = {
        "proc/pressure/cpu": "some avg10=1.00 avg60=2.00 avg300=3.00 total=4567\nfull avg10=0.00 total=1\n",
        "proc/loadavg": "1.25 0.50 0.10 2/345 6789\n",
        "proc/meminfo": "MemTotal: 4000 kB\nMemAvailable:    2048 kB\n",
        "proc/vmstat": "pgfault 12\noom_kill 3\n",
        "proc/stat": "cpu  10 20 30 40 5 6 7 8 9 1\ncpu0 1 2 3\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "600000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq": "2400000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1800000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq": "2400000\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "2\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "5\n",
    }
    host = Host(tree_of(tmp_path, files))
    assert host.pressure_us() == 4567
    assert host.load_average() == 1.25
    assert host.available_memory_bytes() == 2048 * 1024
    assert host.memory_kill_count() == 3
    assert host.stolen_time() == StolenTime(total_ticks=126, stolen_ticks=8)
    assert host.governor() == "schedutil"
    assert host.clock_fraction() == 0.75
    assert host.throttling().event_count == 7


@pytest.mark.parametrize(
    ("temperatures", "hottest"),
    [(["45000", "61500"], 61.5), (["-256000", "0", "38000"], 38.0), (["-256000"], None), (["broken"], None)],
)
def test_zones_without_a_sensor_are_left_out(tmp_path, temperatures, hottest):
    for index, text in enumerate(temperatures):
        tree_of(tmp_path, {f"sys/class/thermal/thermal_zone{index}/temp": text})
    assert Host(tmp_path).temperature_c() == hottest


@pytest.mark.parametrize(
    ("word", "active"),
    [("0", ()), ("50005\n", ("under-voltage", "throttled")), ("0x50000", ()), ("8", ("soft temperature limit",))],
)
def test_the_flags_of_a_raspberry_pi_that_hold_now_are_read(tmp_path, word, active):
    assert Host(tree_of(tmp_path, {FIRMWARE: word})).throttling().active == active


def test_a_fan_that_turns_is_no_throttling(tmp_path):
    files = {
        "sys/class/thermal/cooling_device0/type": "pwm-fan",
        "sys/class/thermal/cooling_device0/cur_state": "3",
        "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0",
        "sys/class/thermal/cooling_device1/cur_state": "2",
        "sys/class/thermal/cooling_device2/type": "Processor",
        "sys/class/thermal/cooling_device2/cur_state": "0",
    }
    assert Host(tree_of(tmp_path, files)).throttling().active == ("cooling by cpufreq-cpu0",)


def test_the_gate_notes_a_quiet_machine_without_remarks(tmp_path):
    files = {
        "proc/pressure/cpu": "some avg10=99.00 avg60=99.00 avg300=99.00 total=1000\n",
        "proc/loadavg": "7.00 1 1 1/1 1\n",
        "sys/class/thermal/thermal_zone0/temp": "40000",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
    }
    findings = asyncio.run(inspect(Host(tree_of(tmp_path, files))))
    assert findings.remarks == ()
    assert findings.conditions.load_average == 7.0
    assert findings.conditions.temperature_c == 40.0
    assert findings.conditions.governor == "performance"


def test_the_gate_remarks_on_a_busy_hot_and_throttled_machine(tmp_path):
    files = {
        "proc/loadavg": "500.00 1 1 1/1 1\n",
        "sys/class/thermal/thermal_zone0/temp": "83000",
        FIRMWARE: "4",
    }
    findings = asyncio.run(inspect(Host(tree_of(tmp_path, files))))
    assert findings.remarks == (
        "busy before the start: load average 500.0",
        "hot before the start: 83 °C",
        "held back before the start: throttled",
    )


def test_the_gate_sees_pressure_as_it_is_now(tmp_path):
    root = tree_of(tmp_path, {"proc/pressure/cpu": "some avg10=0.00 total=1000\n"})

    async def scenario():
        looking = asyncio.ensure_future(inspect(Host(root)))
        await asyncio.sleep(0.05)
        # Far more than the time that passes: tasks waited all the while.
        tree_of(tmp_path, {"proc/pressure/cpu": "some avg10=0.00 total=900001000\n"})
        return await looking

    assert asyncio.run(scenario()).remarks == ("busy before the start: tasks waited for a processor 100% of the time",)
