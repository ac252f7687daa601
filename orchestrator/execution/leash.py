"""The leash: a small process that outlives the orchestrator by a moment and takes an embedded Ray down with it.

Ray binds its head processes to its parent by the kernel, but not its agents: after a ``kill -9`` of the parent they
stay for a minute. The leash waits for its standard input to end, which the kernel sees to however the parent died, then
kills every process that carries the mark in its environment, and removes the directory.

Run as a file by a bare interpreter (``python -I -S leash.py MARK DIRECTORY``), so that it costs little memory.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

MARK_VARIABLE = "FLEETFIT_ENGINE_MARK"


def marked_processes(mark: str) -> list[int]:
    """Ids of the processes of this user whose environment, as they were started, carries ``mark``."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as environment:
                    if wanted in environment.read().split(b"\0"):
                        found.append(int(name))
            except OSError:  # It ended meanwhile, or belongs to someone else.
                continue
    return found


def end_marked_processes(mark: str) -> None:
    """Kills them, and those that they start meanwhile, until none has been seen twice in a row."""
    quiet = 0
    while quiet < 2:
        processes = marked_processes(mark)
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        quiet = 0 if processes else quiet + 1
        time.sleep(0.05)


def main() -> None:
    """Waits for the parent's end, then cleans up."""
    mark, directory = sys.argv[1:3]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_marked_processes(mark)
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
