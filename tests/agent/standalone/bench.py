"""A bench for profiling without a device: a profiler whose latencies the test decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from agent.profiling.measurement import (
    Conditions,
    Figure,
    Latency,
    Measurement,
    MeasureRequest,
    Memory,
    Outcome,
    Provenance,
    Quality,
)
from agent.profiling.worker_protocol import Histogram

HISTOGRAM = Histogram(lower_ms=1.8, width_ms=0.1, counts=(3, 0, 120, 60), beyond=7)


def a_latency(p50_ms: float = 2.0, *, quality: Quality = Quality.HIGH, with_p50: bool = True) -> Latency:
    return Latency(
        p50_ms=Figure(value=p50_ms, lower=p50_ms * 0.99, upper=p50_ms * 1.01) if with_p50 else None,
        p90_ms=Figure(value=p50_ms * 1.1, lower=p50_ms, upper=p50_ms * 1.2),
        p95_ms=Figure(value=p50_ms * 1.2, lower=p50_ms, upper=p50_ms * 1.3),
        p99_ms=None,
        mean_ms=p50_ms,
        minimum_ms=p50_ms * 0.9,
        sample_count=200,
        load_ms=12.0,
        first_inference_ms=4.0,
        warm_up_count=30,
        steady_state=True,
        quality=quality,
        remarks=("no p99: it needs 368 samples",),
    )


class Bench:
    """Measures every model as the test says."""

    def __init__(self, latency: Callable[[Path, int], Latency]) -> None:
        self._latency = latency
        self.requests: list[MeasureRequest] = []
        # The order in which models were measured.
        self.measured: list[str] = []
        self.outcome = Outcome.OK

    async def measure(
        self,
        request: MeasureRequest,
        *,
        artifact_path: Path,
        golden_path: Path | None,
        on_progress: Callable[[str], None],
    ) -> Measurement:
        self.requests.append(request)
        self.measured.append(artifact_path.name)
        ok = self.outcome is Outcome.OK
        return Measurement(
            result_id="r",
            artifact_sha256="",
            outcome=self.outcome,
            detail="" if ok else "MatMul has a shape that nobody likes",
            measured_at=datetime(2026, 11, 1, tzinfo=timezone.utc),
            latency=self._latency(artifact_path, len(self.measured) - 1) if ok else None,
            memory=Memory(peak_bytes=80 << 20, baseline_bytes=60 << 20, provenance=Provenance.MEASURED),
            conditions=Conditions(
                runtime="onnxruntime", runtime_version="1.32.0", provider="CPUExecutionProvider", threads=1,
                governor="ondemand", load_average=0.25, temperature_c=48.0,
            ),
        )  # fmt: skip
