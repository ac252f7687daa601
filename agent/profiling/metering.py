"""The meter's part in one measurement: when it is read, and what becomes of the readings."""

from __future__ import annotations

from collections.abc import Sequence

from agent.meters.meter import EstimatingMeter, Meter, Reading, SampledMeter
from agent.profiling.energy import energy_per_inference, without_figures
from agent.profiling.measurement import Energy
from agent.profiling.sampling import Sampler
from agent.profiling.worker_protocol import EnergySchedule, Report

_PAIRS = 3
_READINGS_PER_BLOCK = 100
_LONGEST_GUARD_S = 2.0
_GUARD_SHARE_OF_BLOCK = 0.2
_LEAST_READINGS_PER_GUARD = 3


class Metering:
    """One meter during one measurement.

    Args:
        meter: A sensor is read while the worker runs its blocks; an estimate is computed from the latency; None gives
            no figure.
    """

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._sampler = Sampler(meter) if isinstance(meter, SampledMeter) else None
        self._readings: Sequence[Reading] = ()
        self._problem = ""

    def schedule(self) -> EnergySchedule | None:
        """The blocks that the meter needs; None where it needs none."""
        if not isinstance(self._meter, SampledMeter):
            return None
        block_s = max(self._meter.minimum_window_s, _READINGS_PER_BLOCK / self._meter.rate_hz)
        guard_s = max(
            min(_LONGEST_GUARD_S, _GUARD_SHARE_OF_BLOCK * block_s),
            _LEAST_READINGS_PER_GUARD / self._meter.rate_hz,
        )
        return EnergySchedule(pairs=_PAIRS, block_s=block_s, guard_s=guard_s)

    def start(self) -> None:
        """Begins to read the meter."""
        if self._sampler is not None:
            try:
                self._sampler.start()
            except OSError as error:
                self._problem = f"the meter cannot be read: {error.strerror}"

    def stop(self) -> None:
        """Ends reading; harmless when it never began."""
        if self._sampler is not None:
            self._readings = self._sampler.stop()

    def energy(self, report: Report, *, threads: int) -> Energy | None:
        """The energy per inference, after the worker has ended."""
        meter = self._meter
        if isinstance(meter, EstimatingMeter):
            median = report.latency.p50_ms
            # What preempted the model lengthens the mean, and is not the model's energy.
            latency_ms = median.value if median is not None else report.latency.mean_ms
            estimate = meter.estimate(latency_ms=latency_ms, threads=threads)
            return Energy(
                gross_mj=estimate.gross_mj,
                net_mj=estimate.net_mj,
                lower_mj=None,
                upper_mj=None,
                meter=meter.facts.name,
                provenance=meter.facts.provenance,
                scope=meter.facts.scope,
                remark=estimate.remark,
            )
        if not isinstance(meter, SampledMeter):
            return None
        if self._problem:
            return without_figures(meter.facts, self._problem)
        return energy_per_inference(
            report.energy_blocks,
            self._readings,
            facts=meter.facts,
            quantity=meter.quantity,
            interval_s=1 / meter.rate_hz,
            gain_error_fraction=meter.gain_error_fraction,
        )
