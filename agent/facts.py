"""What this device is: read from the kernel, each path below an injectable root."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.meters.meter import MeterFacts
    from agent.runtimes.runtime import RuntimeFacts

# Those that change the speed or the results of int8 and half-precision kernels.
_INSTRUCTION_SETS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8",
    "neon", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "bf16",
)  # fmt: skip

# Arm processors give numbers, not names. Source: the kernel's arch/arm64/include/asm/cputype.h.
_ARM_IMPLEMENTER = 0x41
_ARM_PARTS = {
    0xC07: "Cortex-A7", 0xC0F: "Cortex-A15", 0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55",
    0xD07: "Cortex-A57", 0xD08: "Cortex-A72", 0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1", 0xD0D: "Cortex-A77", 0xD40: "Neoverse-V1", 0xD41: "Cortex-A78", 0xD42: "Cortex-A78AE",
    0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD48: "Cortex-X2", 0xD49: "Neoverse-N2",
    0xD4F: "Neoverse-V2",
}  # fmt: skip

# What board makers leave in the firmware when they have nothing to say.
_PLACEHOLDER = re.compile(
    r"to be filled|default string|system (product|manufacturer|version)|not (specified|applicable)", re.I
)

_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
_NARROW = {"x86_64": "i686", "aarch64": "armv7l"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a device says of itself."""

    hostname: str
    architecture: str
    board: str = ""
    cpu_model: str = ""
    instruction_sets: tuple[str, ...] = ()
    cpu_count: int = 0
    memory_bytes: int = 0
    operating_system: str = ""
    python_version: str = ""
    agent_version: str = ""
    runtimes: tuple[RuntimeFacts, ...] = ()
    meters: tuple[MeterFacts, ...] = ()
    host_id: str = ""


def read_facts(
    *, root: Path = Path("/"), runtimes: Iterable[RuntimeFacts] = (), meters: Iterable[MeterFacts] = ()
) -> DeviceFacts:
    """The facts of the machine whose ``/proc``, ``/sys`` and ``/etc`` lie below ``root``.

    What cannot be read stays empty: a device without a board name is still a device.
    """
    processors = _processors(root)
    return DeviceFacts(
        hostname=platform.node(),
        architecture=_architecture(),
        board=_board(root),
        cpu_model=_cpu_model(processors),
        instruction_sets=_instruction_sets(processors),
        cpu_count=len(os.sched_getaffinity(0)),
        memory_bytes=_memory_bytes(root),
        operating_system=_operating_system(root),
        python_version=platform.python_version(),
        agent_version=agent_version(),
        runtimes=tuple(runtimes),
        meters=tuple(meters),
        host_id=_host_id(root),
    )


def read_boot_id(root: Path = Path("/")) -> str:
    """The kernel's name for this boot; empty where it gives none."""
    return _text(root / "proc/sys/kernel/random/boot_id")


def agent_version() -> str:
    """The version of the installed package; "0" in a tree that was never installed."""
    try:
        return version("fleetfit")
    except PackageNotFoundError:
        return "0"


def _architecture() -> str:
    """What binaries of this Python are for: a 32-bit system may run on a 64-bit kernel."""
    machine = platform.machine().lower()
    architecture = _ARCHITECTURES.get(machine, machine)
    return _NARROW.get(architecture, architecture) if sys.maxsize < 2**32 else architecture


def _board(root: Path) -> str:
    model = _text(root / "proc/device-tree/model") or _text(root / "sys/firmware/devicetree/base/model")
    if model:
        return model
    said = [_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name")]
    vendor, product = ("" if _PLACEHOLDER.search(name) else name for name in said)
    return product if product.lower().startswith(vendor.lower()) else f"{vendor} {product}".strip()


def _processors(root: Path) -> list[dict[str, str]]:
    """``/proc/cpuinfo`` as one dictionary a block."""
    blocks = []
    for block in re.split(r"\n\s*\n", _text(root / "proc/cpuinfo")):
        pairs = (line.partition(":") for line in block.splitlines())
        fields = {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}
        if fields:
            blocks.append(fields)
    return blocks


def _cpu_model(processors: list[dict[str, str]]) -> str:
    """The processor's name; where the cores differ, each kind once."""
    names: dict[str, None] = {}
    for fields in processors:
        name = fields.get("model name", "") if "cpu part" not in fields else _arm_name(fields)
        if name:
            names[" ".join(name.split())] = None
    return " + ".join(names)


def _arm_name(fields: dict[str, str]) -> str:
    try:
        implementer, part = int(fields.get("cpu implementer", "0"), 0), int(fields["cpu part"], 0)
    except ValueError:
        return fields.get("model name", "")
    named = _ARM_PARTS.get(part) if implementer == _ARM_IMPLEMENTER else None
    return named or f"Arm {implementer:#04x}/{part:#05x}"


def _instruction_sets(processors: list[dict[str, str]]) -> tuple[str, ...]:
    """The sets that every core has: a thread may run on any of them."""
    flags = [set((fields.get("flags") or fields.get("features") or "").split()) for fields in processors]
    of_cores = [of_core for of_core in flags if of_core]
    common = set.intersection(*of_cores) if of_cores else set()
    return tuple(name for name in _INSTRUCTION_SETS if name in common)


def _memory_bytes(root: Path) -> int:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _operating_system(root: Path) -> str:
    release = re.match(r"\d+\.\d+", platform.release())
    kernel = f"{platform.system()} {release[0] if release else platform.release()}".strip()
    name = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text(root / "etc/os-release"), re.MULTILINE)
    return f"{kernel}, {name[1]}" if name else kernel


def _host_id(root: Path) -> str:
    """Equal for all processes on one running kernel, in whichever container they are.

    The boot's id is the kernel's own, so containers share it, while each may have a machine id of its own; that one
    serves only where the kernel gives none. Hashed, because a machine id is not to be shown around.
    """
    own = read_boot_id(root) or _text(root / "etc/machine-id")
    return hashlib.sha256(b"fleetfit host " + own.encode()).hexdigest() if own else ""


def _text(path: Path) -> str:
    """The file's text without the padding that the kernel adds; empty where it cannot be read."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \t\r\n")
    except OSError:
        return ""
