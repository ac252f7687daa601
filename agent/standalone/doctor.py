"""What this device can measure, and what would make it measure better, each with the command to run.

Everything is read below an injectable root; nothing is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from agent.logs import printable
from agent.meters.catalogue import available_meters
from agent.meters.meter import SampledMeter
from agent.profiling.host import Host
from agent.runtimes.runtime import RuntimeFacts

_SCHEMA_VERSION = 1

_HOT_C = 70.0
_HIGHEST_LOAD_PER_PROCESSOR = 0.3
_LEAST_MEMORY_BYTES = 256 << 20
_PERFORMANCE = "performance"
# Made by systemd-timesyncd once it has set the clock.
_TIME_SYNCHRONISED = "run/systemd/timesync/synchronized"


class State(str, Enum):
    """How good something is for measuring."""

    GOOD = "good"
    # It measures, and would measure better.
    BETTER = "could be better"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that matters for measuring; ``command`` betters it, where a command can."""

    topic: str
    state: State
    text: str
    command: str = ""


def examine(
    *,
    runtimes: Sequence[RuntimeFacts],
    root: Path = Path("/"),
    readable: Callable[[Path], bool] = lambda path: os.access(path, os.R_OK),
    processors: int = os.cpu_count() or 1,
) -> tuple[Finding, ...]:
    """What there is to say of this device.

    Args:
        runtimes: Those that have run a model just now.
        root: Where ``/sys``, ``/proc``, ``/dev`` and ``/run`` are looked up.
        readable: Whether this user may read a file.
        processors: How many there are.
    """
    host = Host(root)
    return (
        *_runtimes(runtimes),
        *_governor(root),
        *_energy(root, readable),
        *_pressure(root),
        *_busy(host, processors),
        *_throttling(host),
        *_temperature(host),
        *_memory(host),
        *_clock(root),
    )


def doctor_document(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as JSON types."""
    return {"schema_version": _SCHEMA_VERSION, "findings": [asdict(finding) for finding in findings]}


def doctor_text(findings: Sequence[Finding]) -> str:
    """The findings for people; a command on a line of its own, to be copied."""
    marks = {State.GOOD: "ok", State.BETTER: "better", State.MISSING: "missing"}
    lines = []
    for finding in findings:
        lines.append(f"{marks[finding.state]:<9}{finding.topic:<13}{printable(finding.text)}")
        if finding.command:
            lines.append(f"{'':<22}{printable(finding.command)}")
    return "\n".join(lines)


def _runtimes(runtimes: Sequence[RuntimeFacts]) -> Iterator[Finding]:
    for runtime in runtimes:
        providers = f", with {', '.join(runtime.providers)}" if runtime.providers else ""
        text = f"{runtime.name} {runtime.version} runs {', '.join(runtime.formats)}{providers}"
        yield Finding(topic="runtime", state=State.GOOD, text=text)
    if not runtimes:
        yield Finding(
            topic="runtime",
            state=State.MISSING,
            text="no runtime works on this device: it can measure nothing",
            command="pip install 'fleetfit[onnx]'",
        )


def _governor(root: Path) -> Iterator[Finding]:
    paths = sorted(root.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"))
    governors = {governor for path in paths if (governor := _text(path))}
    if not governors:
        yield Finding(
            topic="clock rate", state=State.BETTER, text="the clock rate cannot be seen: a change goes unnoticed"
        )
    elif governors == {_PERFORMANCE}:
        yield Finding(topic="clock rate", state=State.GOOD, text="the governor is 'performance' on every processor")
    else:
        yield Finding(
            topic="clock rate",
            state=State.BETTER,
            text=f"the governor is '{', '.join(sorted(governors))}': the clock rate follows the load",
            command=f"echo {_PERFORMANCE} | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        )


def _energy(root: Path, readable: Callable[[Path], bool]) -> Iterator[Finding]:
    sensors = [meter for meter in available_meters(root) if isinstance(meter, SampledMeter)]
    for meter in sensors:
        text = (
            f"{meter.facts.name} measures the {meter.facts.scope.replace('_', ' ')}, {meter.rate_hz:.0f} times a second"
        )
        yield Finding(topic="energy", state=State.GOOD, text=text)
    locked = [path for path in root.glob("sys/class/powercap/*-rapl:*/energy_uj") if not readable(path)]
    if locked:
        yield Finding(
            topic="energy",
            state=State.BETTER if sensors else State.MISSING,
            text="the processor counts its energy, and this user may not read it; until the next start of the machine:",
            command='sudo chgrp "$(id -gn)" /sys/class/powercap/*/energy_uj'
            " && sudo chmod g+r /sys/class/powercap/*/energy_uj",
        )
    mailbox = root / "dev/vcio"
    if mailbox.exists() and not readable(mailbox):
        yield Finding(
            topic="energy",
            state=State.BETTER if sensors else State.MISSING,
            text="the Raspberry Pi's firmware may not be asked by this user",
            command='sudo usermod --append --groups video "$(id -un)"',
        )
    if not sensors and not locked:
        buses = sorted(path.name for path in root.glob("sys/bus/i2c/devices/i2c-*"))
        command = f"echo ina226 0x40 | sudo tee /sys/bus/i2c/devices/{buses[0]}/new_device" if buses else ""
        wired = (
            "; with an INA226 in the supply, on the I2C bus:" if buses else "; an INA226 in the supply would measure"
        )
        yield Finding(
            topic="energy",
            state=State.MISSING,
            text=f"no sensor answers: energy is estimated, and labelled so{wired}",
            command=command,
        )


def _pressure(root: Path) -> Iterator[Finding]:
    if _text(root / "proc/pressure/cpu"):
        yield Finding(topic="neighbours", state=State.GOOD, text="the kernel tells when other tasks take the processor")
        return
    raspberry_pi = root / "boot/firmware/cmdline.txt"
    command = "sudo sed -i '1s/$/ psi=1/' /boot/firmware/cmdline.txt && sudo reboot" if raspberry_pi.exists() else ""
    yield Finding(
        topic="neighbours",
        state=State.BETTER,
        text="the kernel does not tell when other tasks take the processor: boot it with psi=1",
        command=command,
    )


def _busy(host: Host, processors: int) -> Iterator[Finding]:
    load = host.load_average()
    if load is not None and load > _HIGHEST_LOAD_PER_PROCESSOR * processors:
        yield Finding(
            topic="neighbours",
            state=State.BETTER,
            text=f"something keeps this device busy now: load average {load:.1f} on {processors} processors",
            command="top -o %CPU",
        )


def _throttling(host: Host) -> Iterator[Finding]:
    throttling = host.throttling()
    for reason in throttling.active:
        advice = "use the supply that belongs to the board" if reason == "under-voltage" else "cool the board"
        yield Finding(topic="throttling", state=State.BETTER, text=f"held back now: {reason}; {advice}")
    if not throttling.active and throttling.event_count:
        yield Finding(
            topic="throttling",
            state=State.BETTER,
            text=f"held back {throttling.event_count} times since it was started; better cooling helps",
        )


def _temperature(host: Host) -> Iterator[Finding]:
    temperature_c = host.temperature_c()
    if temperature_c is None:
        yield Finding(topic="temperature", state=State.BETTER, text="no sensor tells it: heat goes unnoticed")
    elif temperature_c > _HOT_C:
        yield Finding(
            topic="temperature",
            state=State.BETTER,
            text=f"{temperature_c:.0f} °C, near where boards slow down: cool it",
        )
    else:
        yield Finding(topic="temperature", state=State.GOOD, text=f"{temperature_c:.0f} °C")


def _memory(host: Host) -> Iterator[Finding]:
    available = host.available_memory_bytes()
    if available is not None:
        enough = available >= _LEAST_MEMORY_BYTES
        text = f"{available / (1 << 20):.0f} MiB for models"
        yield Finding(
            topic="memory", state=State.GOOD if enough else State.BETTER, text=text, command="" if enough else "free -h"
        )


def _clock(root: Path) -> Iterator[Finding]:
    if (root / _TIME_SYNCHRONISED).exists():
        yield Finding(topic="time", state=State.GOOD, text="the clock is set from the network")
        return
    keeps_time = any(root.glob("sys/class/rtc/rtc*"))
    if keeps_time:
        text = "the clock is not set by systemd-timesyncd; another service may do it"
    else:
        text = "nothing sets the clock, and it stands still without power: certificates and signatures need the date"
    yield Finding(
        topic="time",
        state=State.GOOD if keeps_time else State.BETTER,
        text=text,
        command="" if keeps_time else "sudo timedatectl set-ntp true",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
