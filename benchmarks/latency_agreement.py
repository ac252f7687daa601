"""The agent's p50 beside a plain loop over the same session, in one run: ``python -m benchmarks.latency_agreement``.

Both bind inputs and outputs once and time ``run_with_iobinding`` alone. They take turns, so that a machine that
changes its mind changes it for both; what counts is the ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from torch import nn, onnx, randn

from agent.profiling.measurement import Measurement, MeasureRequest
from agent.profiling.profiler import Profiler

ROUNDS = 5


def write_model(path: Path) -> None:
    """A small convolutional network, ``(1, 3, 32, 32) float32`` to ``(1, 10)``."""
    layers = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    onnx.export(layers.eval(), (randn(1, 3, 32, 32),), path, dynamo=True, external_data=False, verbose=False)


def plain_p50_ms(path: Path, *, seconds: float) -> float:
    """Median of single runs in a loop without any ceremony."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, np.ones((1, 3, 32, 32), dtype=np.float32))
    binding.bind_output(session.get_outputs()[0].name)
    for _ in range(50):
        session.run_with_iobinding(binding)
    samples: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        samples.append((time.perf_counter_ns() - started) / 1e6)
    return statistics.median(samples)


def agent_measurement(path: Path, *, seconds: float) -> Measurement:
    """The measurement as a search would have it."""
    request = MeasureRequest(
        artifact_sha256="0" * 64, artifact_size_bytes=path.stat().st_size, artifact_format="onnx",
        minimum_duration_s=seconds, maximum_duration_s=3 * seconds,
    )  # fmt: skip
    profiler = Profiler(meters=())
    return asyncio.run(profiler.measure(request, artifact_path=path, golden_path=None, on_progress=lambda _: None))


def main() -> None:
    """Prints each round, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing, each side and round")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    plain, agent, low = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_model(path)
        for _ in range(ROUNDS):
            plain.append(plain_p50_ms(path, seconds=arguments.seconds))
            latency = agent_measurement(path, seconds=arguments.seconds).latency
            if latency is None or latency.p50_ms is None:
                raise SystemExit("the agent gave no p50")
            agent.append(latency.p50_ms.value)
            low += latency.quality.value == "low"
            if not arguments.json:
                print(f"plain {plain[-1]:.4f} ms   agent {agent[-1]:.4f} ms   quality {latency.quality.value}")
    ratio = statistics.median(agent) / statistics.median(plain)
    if arguments.json:
        print(json.dumps({"plain_p50_ms": plain, "agent_p50_ms": agent, "ratio": ratio, "low_quality_rounds": low}))
    else:
        print(f"agent / plain: {ratio:.3f}; {low} of {ROUNDS} rounds were marked low")


if __name__ == "__main__":
    main()
