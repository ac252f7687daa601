"""What a device is, read from trees that imitate real ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agent.facts import agent_version, read_boot_id, read_facts

PI_CPU = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1
"""
LITTLE_CPU = PI_CPU.replace("0xd0b", "0xd05").replace(" asimddp", "")
X86_CPU = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Core(TM)  i7-1260P
flags\t\t: fpu vme sse4_2 avx f16c avx2 fma avx_vnni hypervisor
"""


def put(root: Path, path: str, content: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content)


def test_a_raspberry_pi_is_known_by_its_board(tmp_path: Path) -> None:
    put(tmp_path, "proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0")
    put(tmp_path, "proc/cpuinfo", f"{PI_CPU}\n{PI_CPU}\nRevision\t: d04170\nModel\t\t: Raspberry Pi 5\n")
    put(tmp_path, "proc/meminfo", "MemTotal:        8256000 kB\nMemFree: 1 kB\n")
    put(tmp_path, "etc/os-release", 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n')
    facts = read_facts(root=tmp_path)
    assert facts.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert facts.cpu_model == "Cortex-A76"
    assert facts.instruction_sets == ("asimd", "asimdhp", "asimddp")
    assert facts.memory_bytes == 8256000 * 1024
    assert facts.operating_system.endswith(", Debian GNU/Linux 12 (bookworm)")


def test_a_processor_with_two_kinds_of_cores_has_both_names_and_only_what_both_can(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", f"{LITTLE_CPU}\n{PI_CPU}\n{LITTLE_CPU}")
    facts = read_facts(root=tmp_path)
    assert facts.cpu_model == "Cortex-A55 + Cortex-A76"
    assert facts.instruction_sets == ("asimd", "asimdhp")


def test_a_pc_is_known_by_its_firmware(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "LENOVO\n")
    put(tmp_path, "sys/class/dmi/id/product_name", "21CB\n")
    put(tmp_path, "proc/cpuinfo", f"{X86_CPU}\n{X86_CPU}")
    facts = read_facts(root=tmp_path)
    assert facts.board == "LENOVO 21CB"
    assert facts.cpu_model == "Intel(R) Core(TM) i7-1260P"
    assert facts.instruction_sets == ("sse4_2", "avx", "avx2", "fma", "avx_vnni")


@pytest.mark.parametrize("name", ["To Be Filled By O.E.M.", "Default string", "System Product Name"])
def test_what_a_board_maker_forgot_to_fill_in_is_no_name(tmp_path: Path, name: str) -> None:
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "ASUS")
    put(tmp_path, "sys/class/dmi/id/product_name", name)
    assert read_facts(root=tmp_path).board == "ASUS"


def test_a_product_that_names_its_maker_is_not_named_twice(tmp_path: Path) -> None:
    put(tmp_path, "sys/class/dmi/id/sys_vendor", "Acme")
    put(tmp_path, "sys/class/dmi/id/product_name", "ACME Box 3")
    assert read_facts(root=tmp_path).board == "ACME Box 3"


def test_an_unknown_arm_core_keeps_its_numbers(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", PI_CPU.replace("0xd0b", "0xfff"))
    assert read_facts(root=tmp_path).cpu_model == "Arm 0x41/0xfff"


def test_an_arm_core_with_nonsense_for_numbers_is_no_reason_to_fail(tmp_path: Path) -> None:
    put(tmp_path, "proc/cpuinfo", PI_CPU.replace("0xd0b", "what"))
    assert read_facts(root=tmp_path).cpu_model == ""


def test_a_machine_that_says_nothing_is_still_a_device(tmp_path: Path) -> None:
    facts = read_facts(root=tmp_path)
    assert (facts.board, facts.cpu_model, facts.instruction_sets, facts.memory_bytes) == ("", "", (), 0)
    assert facts.host_id == ""
    assert facts.cpu_count == len(os.sched_getaffinity(0))
    assert facts.python_version == sys.version.split()[0]


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/model").write_bytes(b"Board\xff\xfe\0")
    assert read_facts(root=tmp_path).board.startswith("Board")


def test_containers_on_one_kernel_are_one_host(tmp_path: Path) -> None:
    for container, machine_id in (("a", "1" * 32), ("b", "2" * 32)):
        put(tmp_path / container, "etc/machine-id", machine_id)
        put(tmp_path / container, "proc/sys/kernel/random/boot_id", "9f1f93a2-c0b0-42d9-8036-7076be05c36d\n")
    assert read_facts(root=tmp_path / "a").host_id == read_facts(root=tmp_path / "b").host_id != ""


def test_two_machines_are_two_hosts_and_nobody_learns_their_ids(tmp_path: Path) -> None:
    put(tmp_path / "a", "etc/machine-id", "1" * 32)
    put(tmp_path / "b", "etc/machine-id", "2" * 32)
    one, other = read_facts(root=tmp_path / "a").host_id, read_facts(root=tmp_path / "b").host_id
    assert one != other
    assert "1" * 32 not in one


def test_this_machine_can_be_read() -> None:
    facts = read_facts()
    assert facts.architecture
    assert facts.memory_bytes > 0
    assert facts.hostname
    assert read_boot_id()
    assert facts.agent_version == agent_version() != "0"
