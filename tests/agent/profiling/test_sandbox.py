from __future__ import annotations

import subprocess
import sys

import pytest

FENCE = "from agent.profiling.sandbox import *\nfenced = forbid_processes_and_sockets()\n"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module", autouse=True)
def _a_kernel_that_fences():
    if run(FENCE + "raise SystemExit(0 if fenced else 3)").returncode == 3:
        pytest.skip("this kernel or architecture has no seccomp filters")


@pytest.mark.parametrize(
    "attempt",
    [
        "import os; os.fork()",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', ''])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import socket; socket.socket(socket.AF_INET)",
        "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
    ],
)
def test_processes_and_network_sockets_are_refused(attempt):
    finished = run(FENCE + attempt)
    assert finished.returncode == 1
    assert "PermissionError" in finished.stderr


def test_threads_files_and_local_sockets_are_allowed():
    finished = run(
        FENCE
        + "import socket, threading\n"
        + "threads = [threading.Thread(target=lambda: open('/proc/self/stat').read()) for _ in range(3)]\n"
        + "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        + "socket.socketpair(); print('well')"
    )
    assert finished.stdout == "well\n", finished.stderr


def test_memory_beyond_the_limit_is_refused_and_the_limits_only_go_down():
    finished = run(
        "from agent.profiling.sandbox import *\n"
        "limit_resources(memory_bytes=200 * 2**20, processor_s=50)\n"
        "limit_resources(memory_bytes=900 * 2**20, processor_s=90)\n"
        "import resource\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU)[0], open('/proc/self/oom_score_adj').read().strip())\n"
        "small = bytearray(50 * 2**20)\n"
        "bytearray(300 * 2**20)"
    )
    assert finished.stdout.split() == ["50", "1000"]
    assert "MemoryError" in finished.stderr


def test_processor_time_beyond_the_limit_ends_the_process():
    finished = run(
        "from agent.profiling.sandbox import *\nlimit_resources(memory_bytes=2**40, processor_s=1)\nwhile True: pass"
    )
    assert finished.returncode < 0


def test_a_process_whose_agent_is_gone_ends_at_once():
    assert run("from agent.profiling.sandbox import *\ndie_with(1)\nprint('alive')").returncode == -9
