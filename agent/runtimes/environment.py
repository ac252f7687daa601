"""The environment of processes that import a runtime."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import agent


def runtime_environment() -> dict[str, str]:
    """The agent's environment, with what a process needs to find the agent's code and to keep to one thread.

    numpy's linear algebra is no part of any figure, so its threads, and the memory that each reserves, are not started.
    """
    package_root = str(Path(agent.__file__).resolve().parents[1])
    search_path = [os.environ.get("PYTHONPATH", "")]
    if package_root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        # Run from a checkout. An installed agent is found anyway, and must not come before the standard library.
        search_path.append(package_root)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, search_path)),
        "PYTHONUNBUFFERED": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
