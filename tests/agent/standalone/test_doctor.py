"""What the doctor says of boards that are trees of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent.runtimes.runtime import RuntimeFacts
from agent.standalone.doctor import Finding, State, doctor_document, doctor_text, examine
from tests.fakes.sensor_trees import board_with_ina226, computer_with_rapl, jetson_with_ina3221, write_tree

REPOSITORY = Path(__file__).parents[3]
ONNX = RuntimeFacts(name="onnxruntime", version="1.32.0", formats=("onnx",), providers=("CPUExecutionProvider",))


def found(root: Path, topic: str, **options: object) -> list[Finding]:
    findings = examine(runtimes=(ONNX,), root=root, processors=4, **options)  # type: ignore[arg-type]
    return [finding for finding in findings if finding.topic == topic]


def test_a_board_in_good_order_has_nothing_to_better(tmp_path: Path) -> None:
    root = board_with_ina226(tmp_path)
    write_tree(
        root,
        {
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance",
            "sys/class/thermal/thermal_zone0/temp": "48000",
            "proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=5",
            "proc/loadavg": "0.05 0.05 0.05 1/200 999",
            "proc/meminfo": "MemAvailable:    3000000 kB",
            "run/systemd/timesync/synchronized": "",
        },
    )
    findings = examine(runtimes=(ONNX,), root=root, processors=4)
    assert [finding for finding in findings if finding.state is not State.GOOD] == []
    assert {finding.topic for finding in findings} == {
        "runtime", "clock rate", "energy", "neighbours", "temperature", "memory", "time",
    }  # fmt: skip


def test_a_device_without_a_runtime_is_told_how_to_get_one(tmp_path: Path) -> None:
    finding = examine(runtimes=(), root=tmp_path, processors=4)[0]
    assert (finding.topic, finding.state) == ("runtime", State.MISSING)
    assert "fleetfit[onnx]" in finding.command


def test_one_processor_with_another_governor_is_enough_to_be_told(tmp_path: Path) -> None:
    governor = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor"
    root = write_tree(tmp_path, {governor.format(0): "performance", governor.format(3): "ondemand"})
    (finding,) = found(root, "clock rate")
    assert finding.state is State.BETTER
    assert "ondemand" in finding.text
    assert finding.command == "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def test_each_sensor_that_answers_is_named_with_its_scope(tmp_path: Path) -> None:
    (finding,) = found(jetson_with_ina3221(tmp_path), "energy")[:1]
    assert finding.state is State.GOOD
    assert "ina3221-vdd_in measures the module" in finding.text


def test_counters_that_this_user_may_not_read_come_with_the_command(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path, {"sys/class/powercap/intel-rapl:0/name": "core", "sys/class/powercap/intel-rapl:0/energy_uj": "5"}
    )
    (finding,) = found(root, "energy", readable=lambda path: path.name != "energy_uj")
    assert finding.state is State.MISSING
    assert "sudo chmod g+r /sys/class/powercap/*/energy_uj" in finding.command


def test_counters_that_may_be_read_are_a_meter(tmp_path: Path) -> None:
    (finding,) = found(computer_with_rapl(tmp_path), "energy")
    assert finding.state is State.GOOD
    assert "cpu package" in finding.text


def test_a_raspberry_pi_whose_firmware_is_closed_to_the_user(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"dev/vcio": ""})
    findings = found(root, "energy", readable=lambda path: path.name != "vcio")
    assert findings[0].command == 'sudo usermod --append --groups video "$(id -un)"'


@pytest.mark.parametrize(("bus", "command"), [("i2c-1", "i2c-1/new_device"), ("", "")])
def test_a_board_without_a_sensor_is_told_what_to_wire(tmp_path: Path, bus: str, command: str) -> None:
    root = write_tree(tmp_path, {f"sys/bus/i2c/devices/{bus}/name": "bcm2835"} if bus else {"proc/loadavg": "0"})
    (finding,) = found(root, "energy")
    assert finding.state is State.MISSING
    assert "estimated" in finding.text
    assert command in finding.command
    assert bool(finding.command) is bool(bus)


@pytest.mark.parametrize(("boot", "command"), [("boot/firmware/cmdline.txt", "psi=1"), ("etc/hostname", "")])
def test_a_kernel_without_pressure_is_told_how_to_boot(tmp_path: Path, boot: str, command: str) -> None:
    (finding,) = found(write_tree(tmp_path, {boot: "console=tty1"}), "neighbours")
    assert finding.state is State.BETTER
    assert "psi=1" in finding.text
    assert command in finding.command
    assert bool(finding.command) is bool(command)


def test_a_busy_device_is_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"proc/loadavg": "3.10 1.0 1.0 5/200 999", "proc/pressure/cpu": "some total=5"})
    assert [finding.state for finding in found(root, "neighbours")] == [State.GOOD, State.BETTER]


def test_under_voltage_is_no_matter_of_cooling(tmp_path: Path) -> None:
    flags = "sys/devices/platform/soc/soc:firmware/get_throttled"
    findings = found(write_tree(tmp_path, {flags: "50005"}), "throttling")
    assert ["supply" in finding.text for finding in findings] == [True, False]
    assert all(finding.state is State.BETTER for finding in findings)


@pytest.mark.parametrize(
    ("temperature", "state"), [("48000", State.GOOD), ("79000", State.BETTER), ("0", State.BETTER)]
)
def test_the_temperature_is_judged(tmp_path: Path, temperature: str, state: State) -> None:
    (finding,) = found(write_tree(tmp_path, {"sys/class/thermal/thermal_zone0/temp": temperature}), "temperature")
    assert finding.state is state


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"run/systemd/timesync/synchronized": ""}, State.GOOD),
        ({"sys/class/rtc/rtc0/name": "rtc"}, State.GOOD),
        ({}, State.BETTER),
    ],
)
def test_a_board_that_forgets_the_time_is_told(tmp_path: Path, files: dict[str, str], state: State) -> None:
    (finding,) = found(write_tree(tmp_path, files), "time")
    assert finding.state is state
    assert ("timedatectl" in finding.command) is (state is State.BETTER)


def test_text_and_document_say_the_same(tmp_path: Path) -> None:
    findings = examine(runtimes=(ONNX,), root=board_with_ina226(tmp_path), processors=4)
    text, document = doctor_text(findings), doctor_document(findings)
    assert document["schema_version"] == 1
    for finding, entry in zip(findings, document["findings"], strict=True):
        assert finding.text in text
        assert finding.command in text
        assert entry["state"] in ("good", "could be better", "missing")
    json.dumps(document)


def test_the_command_examines_this_machine_and_changes_nothing() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "agent", "doctor", "--json"], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert shown.returncode == 0, shown.stderr
    topics = {finding["topic"] for finding in json.loads(shown.stdout)["findings"]}
    assert {"runtime", "clock rate", "energy", "time"} <= topics
