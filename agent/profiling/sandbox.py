"""What a worker takes from itself before it touches a model: memory, processor time, processes, sockets.

It is a fence against models and runtimes that run wild, not against an attacker with code of his own in the process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2

_SPARE_TASKS = 256
_KILL_ME_FIRST = "1000"


def die_with(agent_process_id: int) -> None:
    """Ends this process when the agent ends, however it ends; at once if it is already gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent_process_id:
        os.kill(os.getpid(), signal.SIGKILL)


def limit_resources(*, memory_bytes: int, processor_s: int) -> None:
    """Limits memory and processor time, and makes this process the first that the kernel kills for memory.

    Memory is limited as private writable mappings (RLIMIT_DATA). The address space (RLIMIT_AS) would be the wrong
    thing: runtimes reserve far more of it than they ever touch.
    """
    _lower(resource.RLIMIT_DATA, memory_bytes)
    _lower(resource.RLIMIT_CPU, processor_s)
    _lower(resource.RLIMIT_CORE, 0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILL_ME_FIRST)
    with suppress(OSError, ValueError, IndexError):
        # The second line against fork bombs, for kernels without seccomp; it does not bind root.
        running_tasks = int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])
        _lower(resource.RLIMIT_NPROC, running_tasks + _SPARE_TASKS)


def forbid_processes_and_sockets() -> bool:
    """From now on this process may start threads but no process, and open local sockets only.

    Returns:
        Whether the kernel and the architecture allow for it.
    """
    numbers = _system_calls()
    if numbers is None:
        return False
    program = _filter_program(numbers)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _FilterHeader(len(program) // _INSTRUCTION.size, ctypes.cast(buffer, ctypes.c_void_p))
    # An unprivileged process may only install a filter once it has given up gaining privileges.
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1) and _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header))


@dataclass(frozen=True, slots=True, kw_only=True)
class _SystemCalls:
    architecture: int
    clone: int
    clone3: int
    socket: int
    # System calls that start a process and nothing else.
    starters: tuple[int, ...]
    # Numbers from here on belong to another calling convention.
    foreign_from: int = 0xFFFFFFFF


_BY_MACHINE = {
    ("x86_64", 8): _SystemCalls(
        architecture=0xC000003E, clone=56, clone3=435, socket=41, starters=(57, 58), foreign_from=0x40000000
    ),
    ("aarch64", 8): _SystemCalls(architecture=0xC00000B7, clone=220, clone3=435, socket=198, starters=()),
    # A 32-bit process says so by its pointers, whichever kernel it runs on.
    ("armv7l", 4): _SystemCalls(architecture=0x40000028, clone=120, clone3=435, socket=281, starters=(2, 190)),
    ("aarch64", 4): _SystemCalls(architecture=0x40000028, clone=120, clone3=435, socket=281, starters=(2, 190)),
}


class _FilterHeader(ctypes.Structure):
    """``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


# struct sock_filter: operation, jump if true, jump if false, operand.
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Offsets into struct seccomp_data; arguments are little-endian on every machine above.
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_CLONE_THREAD = 0x00010000
_AF_UNIX = 1


def _filter_program(numbers: _SystemCalls) -> bytes:
    """A classic BPF program; each question either returns or falls through to the next."""
    steps: list[tuple[int, int, int, int]] = [(_LOAD_WORD, 0, 0, _ARCHITECTURE)]
    steps += [(_JUMP_IF_EQUAL, 1, 0, numbers.architecture), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    steps += [(_LOAD_WORD, 0, 0, _NUMBER)]
    steps += [(_JUMP_IF_AT_LEAST, 0, 1, numbers.foreign_from), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    for starter in numbers.starters:
        steps += [(_JUMP_IF_EQUAL, 0, 1, starter), (_RETURN, 0, 0, _REFUSE | _EPERM)]
    # Its flags are out of a filter's reach; the C library falls back to clone.
    steps += [(_JUMP_IF_EQUAL, 0, 1, numbers.clone3), (_RETURN, 0, 0, _REFUSE | _ENOSYS)]
    steps += [
        (_JUMP_IF_EQUAL, 0, 4, numbers.clone),
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE | _EPERM),
    ]
    steps += [
        (_JUMP_IF_EQUAL, 0, 3, numbers.socket),
        (_LOAD_WORD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_IF_EQUAL, 1, 0, _AF_UNIX),
        (_RETURN, 0, 0, _REFUSE | _EPERM),
    ]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def _system_calls() -> _SystemCalls | None:
    return _BY_MACHINE.get((platform.machine(), struct.calcsize("P")))


def _prctl(option: int, first: int, second: int = 0) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
    return bool(library.prctl(option, first, second, 0, 0) == 0)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(kind, (limit, limit))
