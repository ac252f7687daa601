"""A runtime whose models do to their worker what bad models and bad runtimes do.

An artifact is one line: the name of a behaviour, and a path at which the model leaves the worker's process id. Put this
folder on PYTHONPATH, and workers find the runtime by its entry point, as they would that of a third party.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import ClassVar

import numpy

from agent.runtimes.errors import UnsupportedModelError
from agent.runtimes.runtime import Model, Runtime, TensorSpec

_MEGABYTE = 1024 * 1024
# Should the fence not hold, the bomb is a small one.
_MOST_CHILDREN = 40


def segfault():
    ctypes.string_at(0)


def abort():
    os.abort()


def hang():
    while True:
        time.sleep(60)


def hang_against_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hang()


def spin():
    while True:
        pass


def hog():
    kept = []
    while True:
        kept.append(bytearray(16 * _MEGABYTE))


def native_hog():
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    while block := library.malloc(ctypes.c_size_t(16 * _MEGABYTE)):
        ctypes.memset(block, 1, 16 * _MEGABYTE)
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def garbage():
    os.write(int(sys.argv[1]), b"\x00\xff this is no message\n")
    hang()


def forged_message():
    os.write(int(sys.argv[1]), b'{"report":{"loaded":{"runtime":"wild"}}}\n')
    hang()


def endless_message():
    while True:
        os.write(int(sys.argv[1]), b"x" * 65536)


def silence():
    os.close(int(sys.argv[1]))
    hang()


def leave():
    os._exit(0)


def fork_bomb():
    for _ in range(_MOST_CHILDREN):
        if os.fork() == 0:
            hang()
    hang()


def open_socket():
    socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def be_terminated():
    os.kill(os.getpid(), signal.SIGTERM)
    hang()


def refuse():
    raise UnsupportedModelError("operator Frobnicate is not known")


def refuse_at_length():
    raise UnsupportedModelError("\x1b[31mno\n" + "w" * 10_000)


def chatter():
    for _ in range(100):
        os.write(1, b"y" * 65535 + b"\n")


def behave():
    pass


def behave_busily():
    WildModel.busy = True


BEHAVIOURS = (
    segfault, abort, hang, hang_against_sigterm, spin, hog, native_hog, garbage, forged_message, endless_message,
    silence, leave, fork_bomb, open_socket, be_terminated, refuse, refuse_at_length, chatter, behave, behave_busily,
)  # fmt: skip


class WildModel(Model):
    """Doubles four numbers, in half a millisecond."""

    busy = False
    inputs = (TensorSpec(name="x", dtype="float32", shape=(None, 4)),)
    outputs = (TensorSpec(name="y", dtype="float32", shape=(None, 4)),)
    provider = "wild"

    def bind(self, feeds):
        self._feed = numpy.array(feeds[0])

    def run(self):
        end = time.perf_counter() + 0.0005
        while self.busy and time.perf_counter() < end:
            pass
        time.sleep(max(0.0, end - time.perf_counter()))
        self._result = self._feed + self._feed

    def fetch(self):
        return [self._result.copy()]


class WildRuntime(Runtime):
    """Runs the behaviour that the artifact names while it loads it."""

    name: ClassVar[str] = "wild"
    formats: ClassVar[tuple[str, ...]] = ("wild",)

    def version(self):
        return "1.0"

    def providers(self):
        return ("wild",)

    def load(self, path, *, threads, provider=""):
        name, _, process_file = path.read_text().strip().partition(" ")
        if process_file:
            Path(process_file).write_text(str(os.getpid()))
        next(behaviour for behaviour in BEHAVIOURS if behaviour.__name__ == name)()
        return WildModel()

    def probe_model(self):
        return b"behave"
