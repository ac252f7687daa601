"""Profiling without an orchestrator: what is asked for, and what is shown."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import ConfigurationError, NotMeasuredError
from agent.profiling.measurement import Energy, Measurement, Outcome, Provenance
from agent.runtimes.probe_models import PROBE_MODELS
from agent.standalone.comparison import Pair, comparison_of
from agent.standalone.presentation import (
    comparison_document,
    comparison_text,
    histogram_lines,
    profile_document,
    profile_text,
)
from agent.standalone.profile import latency_of, profile, request_for
from tests.agent.standalone.bench import HISTOGRAM, Bench, a_latency

REPOSITORY = Path(__file__).parents[3]
MODEL = Path("m.onnx")


def measured(bench: Bench, folder: Path) -> Measurement:
    path = folder / "m.onnx"
    path.write_bytes(b"model")
    request = request_for(path, runtime="onnxruntime", threads=2, samples=99)
    return asyncio.run(profile(bench, path, request, on_progress=lambda stage: None))


def test_the_request_says_what_the_user_said(tmp_path: Path) -> None:
    bench = Bench(lambda path, index: a_latency())
    measured(bench, tmp_path)
    request = bench.requests[0]
    assert (request.artifact_format, request.runtime, request.threads) == ("onnx", "onnxruntime", 2)
    assert (request.minimum_samples, request.artifact_size_bytes) == (99, 5)


@pytest.mark.parametrize(("name", "words"), [("m.pt", "neither .onnx nor .tflite"), ("gone.onnx", "No such file")])
def test_what_is_no_model_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        request_for(tmp_path / name, runtime="", threads=1, samples=1)


def test_a_model_that_cannot_be_measured_is_an_error_that_says_why(tmp_path: Path) -> None:
    bench = Bench(lambda path, index: a_latency())
    bench.outcome = Outcome.OUT_OF_MEMORY
    with pytest.raises(NotMeasuredError, match="out of memory: MatMul"):
        measured(bench, tmp_path)


def test_the_document_has_four_parts_and_each_percentile_its_interval(tmp_path: Path) -> None:
    document = profile_document(measured(Bench(lambda path, index: a_latency()), tmp_path), HISTOGRAM)
    assert list(document) == ["latency", "memory", "energy", "conditions"]
    latency = document["latency"]
    assert (latency["p50_ms"], latency["p95_ms"], latency["p99_ms"]) == (2.0, 2.4, None)
    assert latency["ci95"] == {"p50_ms": [1.98, 2.02], "p90_ms": [2.0, 2.4], "p95_ms": [2.0, 2.6], "p99_ms": None}
    assert latency["quality"] == "high"
    assert document["memory"]["peak_bytes"] == 80 << 20
    assert document["energy"] is None
    assert latency["histogram"]["counts"] == (3, 0, 120, 60)
    json.dumps(document, allow_nan=False)


def test_the_text_names_sources_and_conditions(tmp_path: Path) -> None:
    measurement = replace(
        measured(Bench(lambda path, index: a_latency()), tmp_path),
        energy=Energy(
            gross_mj=3.0, net_mj=2.5, lower_mj=2.4, upper_mj=2.6, meter="ina226",
            provenance=Provenance.MEASURED, scope="board",
        ),
    )  # fmt: skip
    text = profile_text(MODEL, measurement, HISTOGRAM)
    for words in (
        "m.onnx on onnxruntime 1.32.0 (CPUExecutionProvider), threads 1",
        "p50   2.0000 ms   95 % interval 1.9800 to 2.0200",
        "p99   too few samples",
        "peak 80.0 MiB, 20.0 MiB of it for the model (measured)",
        "2.500 mJ above idle, 3.000 mJ in all (ina226, board, measured)",
        "load 0.25, governor ondemand, 48 °C at the start",
        "no p99: it needs 368 samples",
    ):
        assert words in text


def test_energy_without_a_figure_says_why(tmp_path: Path) -> None:
    measurement = replace(
        measured(Bench(lambda path, index: a_latency()), tmp_path),
        energy=Energy(
            gross_mj=None, net_mj=None, lower_mj=None, upper_mj=None, meter="rapl-package",
            provenance=Provenance.MEASURED, scope="cpu_package", remark="below the meter's resolution",
        ),
    )  # fmt: skip
    text = profile_text(MODEL, measurement, HISTOGRAM)
    assert "no figure (rapl-package" in text
    assert "below the meter's resolution" in text


def test_the_histogram_shows_every_bin_and_no_sample_is_lost_from_sight() -> None:
    lines = histogram_lines(HISTOGRAM)
    assert len(lines) == 5
    bars = [line.partition("|")[2].split(" ")[0] for line in lines]
    assert [bool(bar) for bar in bars] == [True, False, True, True, True]
    assert len(bars[2]) == max(map(len, bars))
    assert len(bars[3]) == len(bars[2]) // 2
    assert lines[-1].strip().startswith("> 2.2000 ms")


def test_a_comparison_is_shown_with_its_pairs_and_its_interval(tmp_path: Path) -> None:
    measurement = measured(Bench(lambda path, index: a_latency()), tmp_path)
    pairs = [Pair(first_ms=2.0, second_ms=1.6 + 0.01 * index) for index in range(4)]
    comparison = comparison_of(pairs, disturbed_runs=2)
    sides = (Path("a.onnx"), measurement), (Path("b.onnx"), measurement)
    text = comparison_text(comparison, *sides)
    assert "B is faster than A" in text
    assert "2 of 8 runs were disturbed" in text
    document = comparison_document(comparison, *sides)
    assert document["comparison"]["ci95"] == [comparison.lower, comparison.upper]
    assert document["comparison"]["conclusion"] == "faster"
    assert len(document["comparison"]["pairs"]) == 4
    assert latency_of(measurement).sample_count == 200


def agent(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *map(str, arguments)], capture_output=True, text=True, cwd=REPOSITORY
    )


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "probe.onnx"
    path.write_bytes(PROBE_MODELS["onnx"])
    return path


def test_the_command_measures_a_real_model_without_a_fleet(probe: Path) -> None:
    pytest.importorskip("onnxruntime")
    shown = agent("profile", probe, "--samples", "100", "--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    assert list(document) == ["latency", "memory", "energy", "conditions"]
    latency = document["latency"]
    lower, upper = latency["ci95"]["p95_ms"]
    assert 0 < lower <= latency["p95_ms"] <= upper
    assert latency["p50_ms"] <= latency["p95_ms"]
    assert latency["sample_count"] >= 100
    assert sum(latency["histogram"]["counts"]) + latency["histogram"]["beyond"] == latency["sample_count"]
    assert document["conditions"]["runtime"] == "onnxruntime"
    assert shown.stderr == ""


def test_the_command_refuses_a_garbled_model_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "garbled.onnx"
    path.write_bytes(b"\x00" * 100)
    shown = agent("profile", path)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert [line.split(":")[0] for line in shown.stderr.splitlines()] == ["error", "hint"]


@pytest.mark.thorough
def test_the_command_compares_two_real_models(probe: Path) -> None:
    pytest.importorskip("onnxruntime")
    shown = agent("profile", probe, "--compare", probe, "--pairs", "3", "--json")
    assert shown.returncode == 0, shown.stderr
    comparison = json.loads(shown.stdout)["comparison"]
    assert len(comparison["pairs"]) == 3
    assert comparison["ci95"][0] <= comparison["p50_ratio"] <= comparison["ci95"][1]


@pytest.mark.parametrize(
    "arguments",
    [["--threads", "-1"], ["--samples", "0"], ["--pairs", "2"], ["--pairs", "32"], ["--compare", "b.onnx", "--energy"]],
)
def test_a_wrong_option_is_one_line_and_a_hint(arguments: list[str]) -> None:
    shown = agent("profile", "a.onnx", *arguments)
    assert shown.returncode == 2
    assert [line.split(":")[0] for line in shown.stderr.splitlines()] == ["error", "hint"]
