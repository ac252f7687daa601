"""How the agent is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterator

_log = logging.getLogger(__name__)

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
# Ctrl-C reaches a whole process group, and then the parent passes it on: that is one wish to stop, not two.
_IMPATIENCE_S = 2.0


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Turns the first SIGTERM or SIGINT into a cancellation of the current task; one that comes later kills."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    first_s: float | None = None

    def stop(number: signal.Signals) -> None:
        nonlocal first_s
        if first_s is None:
            first_s = loop.time()
            _log.info("%s: stopping", number.name)
            if task is not None:
                task.cancel()
        elif loop.time() - first_s > _IMPATIENCE_S:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in _NUMBERS:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        for number in _NUMBERS:
            loop.remove_signal_handler(number)
