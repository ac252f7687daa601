"""Peak memory of this process, as the kernel counts it: no sampler, so no spike is missed."""

from __future__ import annotations

import resource
from pathlib import Path

from agent.profiling.measurement import Memory, Provenance

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
# Resets the peak of the resident set to its present size (proc(5)).
_RESET_PEAK = "5"


class PeakMemory:
    """Peaks of the resident set, stage by stage.

    Where the kernel does not let the peak be reset, the baseline may hold a peak of the start-up, and is then the
    highest that the process ever was before the model.
    """

    def __init__(self) -> None:
        _reset_peak()
        self._baseline_bytes = _peak_bytes()
        self._stage_peaks_bytes: list[int] = []

    def end_stage(self) -> None:
        """Notes the peak since the last stage, and begins the next."""
        self._stage_peaks_bytes.append(_peak_bytes())
        _reset_peak()

    def measured(self) -> Memory:
        """The baseline, and the highest of all stages."""
        return Memory(
            peak_bytes=max([self._baseline_bytes, *self._stage_peaks_bytes]),
            baseline_bytes=self._baseline_bytes,
            provenance=Provenance.MEASURED,
        )


def _reset_peak() -> bool:
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _peak_bytes() -> int:
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
