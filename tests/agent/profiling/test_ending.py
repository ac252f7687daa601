from __future__ import annotations

import signal

import pytest

from agent.profiling.ending import explain
from agent.profiling.measurement import Outcome
from agent.profiling.process import WorkerEnd


def end(**changes) -> WorkerEnd:
    return WorkerEnd(**{"conclusion": None, "return_code": None, **changes})


@pytest.mark.parametrize(
    ("ended", "killed_for_memory", "outcome", "words"),
    [
        (end(timed_out=True, return_code=-signal.SIGTERM), False, Outcome.TIMED_OUT, "ended after 12 s"),
        (end(return_code=-signal.SIGSEGV), False, Outcome.CRASHED, "killed by SIGSEGV"),
        (end(return_code=-signal.SIGSEGV, tail="a\nlast words\n\n"), False, Outcome.CRASHED, "SIGSEGV: last words"),
        (end(return_code=-signal.SIGKILL), False, Outcome.CRASHED, "killed by SIGKILL"),
        (end(return_code=-signal.SIGKILL), True, Outcome.OUT_OF_MEMORY, "kernel ended the worker"),
        (end(return_code=-signal.SIGSEGV), True, Outcome.CRASHED, "killed by SIGSEGV"),
        (end(return_code=-signal.SIGABRT, tail="std::bad_alloc"), False, Outcome.OUT_OF_MEMORY, "not enough memory"),
        (end(return_code=-signal.SIGXCPU), False, Outcome.TIMED_OUT, "processor time"),
        (end(return_code=-signal.SIGTERM), False, Outcome.CANCELLED, "SIGTERM"),
        (end(return_code=-signal.SIGINT), False, Outcome.CANCELLED, "SIGINT"),
        (end(return_code=-77), False, Outcome.CRASHED, "signal 77"),
        (end(return_code=1, tail="MemoryError"), False, Outcome.OUT_OF_MEMORY, "not enough memory"),
        (
            end(return_code=1, tail="Traceback\nKeyError: 3"),
            False,
            Outcome.CRASHED,
            "status 1 and without a result: Key",
        ),
        (end(return_code=0), False, Outcome.CRASHED, "status 0"),
        (end(garbled="not JSON"), False, Outcome.CRASHED, "not a result: not JSON"),
        (end(garbled="not JSON", return_code=-signal.SIGSEGV), False, Outcome.CRASHED, "SIGSEGV"),
        (end(), False, Outcome.CRASHED, "fell silent"),
    ],
)
def test_every_end_has_an_outcome_and_one_line(ended, killed_for_memory, outcome, words):
    found, detail = explain(ended, timeout_s=12.0, killed_for_memory=killed_for_memory)
    assert found is outcome
    assert words in detail
    assert "\n" not in detail
