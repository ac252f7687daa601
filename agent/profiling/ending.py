"""What the end of a worker that sent no report means. A pure function."""

from __future__ import annotations

import signal

from agent.profiling.measurement import Outcome
from agent.profiling.process import WorkerEnd

_NO_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "out of memory")
_ASKED_TO_END = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def explain(end: WorkerEnd, *, timeout_s: float, killed_for_memory: bool) -> tuple[Outcome, str]:
    """The outcome, and one line about it.

    Args:
        end: How the worker ended.
        timeout_s: The wall time that it had.
        killed_for_memory: The kernel killed a process for want of memory meanwhile.
    """
    if end.timed_out:
        return Outcome.TIMED_OUT, f"the worker was ended after {timeout_s:.0f} s"
    last_words = _last_line(end.tail)
    lacked_memory = any(sign in end.tail for sign in _NO_MEMORY)
    if end.return_code is not None and end.return_code < 0:
        return _explain_signal(-end.return_code, last_words, killed_for_memory, lacked_memory)
    if end.garbled:
        return Outcome.CRASHED, f"the worker sent something that is not a result: {end.garbled}"
    if lacked_memory:
        return Outcome.OUT_OF_MEMORY, _line("the worker had not enough memory", last_words)
    if end.return_code is None:
        return Outcome.CRASHED, _line("the worker fell silent without a result", last_words)
    return Outcome.CRASHED, _line(f"the worker ended with status {end.return_code} and without a result", last_words)


def _explain_signal(number: int, last_words: str, killed_for_memory: bool, lacked_memory: bool) -> tuple[Outcome, str]:
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    if number == signal.SIGXCPU:
        return Outcome.TIMED_OUT, "the worker used up its processor time"
    if number == signal.SIGKILL and killed_for_memory:
        return Outcome.OUT_OF_MEMORY, "the kernel ended the worker for want of memory"
    if lacked_memory:
        return Outcome.OUT_OF_MEMORY, _line("the worker had not enough memory", last_words)
    if number in _ASKED_TO_END:
        return Outcome.CANCELLED, f"the worker was asked to end by {name}"
    return Outcome.CRASHED, _line(f"the worker was killed by {name}", last_words)


def _line(what: str, last_words: str) -> str:
    return f"{what}: {last_words}" if last_words else what


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
