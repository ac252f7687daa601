"""Runs the benchmarks that need nothing but this machine, one after the other: ``python -m benchmarks``."""

from __future__ import annotations

import subprocess
import sys

# Those that need an archive or hours are run by name.
QUICK = ("benchmarks.latency_agreement",)


def main() -> int:
    """The number of benchmarks that failed."""
    failed = 0
    for name in QUICK:
        print(f"== python -m {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", name], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
