"""The verdict on a timed run: quiet enough to be trusted, or why not. A pure function of what was observed."""

from __future__ import annotations

from dataclasses import dataclass

from agent.profiling.measurement import Quality

HIGHEST_CONTAMINATED_FRACTION = 0.05
HIGHEST_REFERENCE_SHIFT_FRACTION = 0.05
HIGHEST_DRIFT_FRACTION = 0.05
HIGHEST_STOLEN_FRACTION = 0.02
# Boosting processors seldom reach their highest clock; a board that is held back falls well below it.
LOWEST_CLOCK_FRACTION = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """What happened while a model was timed.

    Attributes:
        steady_state: The warm-up ended because batches agreed, not because its time was up.
        contaminated_fraction: Share of the run in which the worker had to wait, or much of the machine did.
        reference_shift_fraction: By how much a computation of known work took longer or shorter meanwhile.
        drift_fraction: By how much the last part of the run was slower than the first.
        stolen_fraction: Share of processor time that a hypervisor gave to others.
        clock_fraction: The clock as a share of the highest one; None where the machine does not tell.
        throttling: What held the processor back.
        complete: The minima of samples and duration were met within the time allowed.
    """

    steady_state: bool
    contaminated_fraction: float
    reference_shift_fraction: float
    drift_fraction: float
    stolen_fraction: float = 0.0
    clock_fraction: float | None = None
    throttling: tuple[str, ...] = ()
    complete: bool = True


def concerns_about(seen: Observations) -> tuple[str, ...]:
    """Why the run should not be trusted, the gravest first; empty for a quiet one."""
    concerns = [f"held back while it was timed: {reason}" for reason in seen.throttling]
    if seen.contaminated_fraction > HIGHEST_CONTAMINATED_FRACTION:
        concerns.append(f"other tasks took the processor in {seen.contaminated_fraction:.0%} of the run")
    if seen.stolen_fraction > HIGHEST_STOLEN_FRACTION:
        concerns.append(f"the hypervisor took {seen.stolen_fraction:.0%} of the processor time")
    if abs(seen.reference_shift_fraction) > HIGHEST_REFERENCE_SHIFT_FRACTION:
        concerns.append(f"reference moved by {seen.reference_shift_fraction:+.0%}")
    if seen.drift_fraction > HIGHEST_DRIFT_FRACTION:
        concerns.append(f"slowed down by {seen.drift_fraction:.0%} while it was timed")
    if seen.clock_fraction is not None and seen.clock_fraction < LOWEST_CLOCK_FRACTION:
        concerns.append(f"clocked at {seen.clock_fraction:.0%} of the highest frequency")
    if not seen.steady_state:
        concerns.append("not steady after the longest warm-up")
    if not seen.complete:
        concerns.append("ended by the time limit before enough was timed")
    return tuple(concerns)


def verdict(concerns: tuple[str, ...]) -> Quality:
    """HIGH where nothing speaks against the run."""
    return Quality.LOW if concerns else Quality.HIGH
