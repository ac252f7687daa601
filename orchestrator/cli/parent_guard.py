"""Runs a command that ends when its parent does, however that ended.

Run as a file by a bare interpreter: ``python -I parent_guard.py PARENT COMMAND…``. On Linux the kernel sends SIGTERM at
the parent's death, and the request for it survives the exec. Elsewhere the command just runs.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks the kernel, makes sure that the parent had not died before that, and becomes the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(143)
    # The command is the demo's own.
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
