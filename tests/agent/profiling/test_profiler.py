from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

from agent.meters.estimate import EstimateMeter, PowerProfile
from agent.profiling.exclusion import HostLock
from agent.profiling.measurement import MeasureRequest, Outcome, Provenance, Quality
from agent.profiling.profiler import Profiler

ROOT = Path(__file__).parents[3]
WILD_RUNTIME = ROOT / "tests" / "fakes" / "wild_runtime"
SEED = 3


@pytest.fixture
def wild(tmp_path, monkeypatch):
    """Makes an artifact that behaves as named; its process id is left in ``process.id``."""
    monkeypatch.setenv("PYTHONPATH", str(WILD_RUNTIME))

    def make(behaviour: str) -> Path:
        path = tmp_path / "model.wild"
        path.write_text(f"{behaviour} {tmp_path / 'process.id'}")
        return path

    return make


@pytest.fixture
def profiler(tmp_path):
    return make_profiler(tmp_path)


def make_profiler(tmp_path, **options) -> Profiler:
    meter = EstimateMeter(PowerProfile(name="test board", idle_w=2.0, busy_core_w=1.0))
    return Profiler(**{"meters": (meter,), "host_lock": HostLock(tmp_path / "lock"), "timeout_s": 30.0, **options})


def request(artifact_format: str, **changes) -> MeasureRequest:
    values = {"minimum_samples": 80, "minimum_duration_s": 0.1, "maximum_duration_s": 0.6, "golden_tolerance": 1e-4}
    return MeasureRequest(
        artifact_sha256="a" * 64, artifact_size_bytes=1, artifact_format=artifact_format, **{**values, **changes}
    )


def measure(profiler: Profiler, artifact: Path, *, golden: Path | None = None, stages: list | None = None, **changes):
    stages = [] if stages is None else stages
    wanted = request(artifact.suffix.removeprefix("."), **changes)
    return asyncio.run(profiler.measure(wanted, artifact_path=artifact, golden_path=golden, on_progress=stages.append))


def save_model(path: Path, nodes, *, inputs, outputs, initializers=(), domains=("",)) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid(domain, 1 if domain else 17) for domain in domains]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture
def network(tmp_path) -> Path:
    generator = numpy.random.default_rng(SEED)
    weights = [
        onnx.numpy_helper.from_array(generator.standard_normal(shape).astype(numpy.float32), name)
        for name, shape in (("first", (64, 256)), ("second", (256, 10)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["y"]),
    ]
    return save_model(
        tmp_path / "network.onnx",
        nodes,
        inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        initializers=weights,
    )


@pytest.fixture
def golden(tmp_path, network) -> Path:
    first, second = (onnx.numpy_helper.to_array(weight) for weight in onnx.load(network).graph.initializer)
    inputs = numpy.random.default_rng(SEED).standard_normal((20, 64)).astype(numpy.float32)
    outputs = numpy.maximum(inputs.astype(numpy.float64) @ first, 0) @ second
    numpy.savez(tmp_path / "golden.npz", input_0=inputs, output_0=outputs.astype(numpy.float32))
    return tmp_path / "golden.npz"


def process_is_gone(process_id: int, *, within_s: float = 0.0) -> bool:
    deadline = time.monotonic() + within_s
    while True:
        try:
            state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


def test_a_real_model_is_measured(profiler, network, golden):
    stages: list[str] = []
    measurement = measure(profiler, network, golden=golden, stages=stages, minimum_samples=400, maximum_duration_s=8.0)

    assert measurement.outcome is Outcome.OK, measurement.detail
    latency = measurement.latency
    assert latency.sample_count >= 400
    for figure in (latency.p50_ms, latency.p90_ms, latency.p95_ms, latency.p99_ms):
        assert 0 < figure.lower <= figure.value <= figure.upper
    assert latency.minimum_ms <= latency.p50_ms.value <= latency.p99_ms.value
    assert latency.load_ms > 0
    assert latency.first_inference_ms > 0
    assert latency.warm_up_count >= 10
    assert (latency.quality is Quality.HIGH) or latency.remarks
    assert measurement.numerics.checked
    assert measurement.numerics.maximum_relative_error < 1e-5
    assert measurement.memory.peak_bytes >= measurement.memory.baseline_bytes > 10_000_000
    assert measurement.memory.provenance is Provenance.MEASURED
    assert (measurement.conditions.runtime, measurement.conditions.threads) == ("onnxruntime", 1)
    assert measurement.conditions.provider == "CPUExecutionProvider"
    assert measurement.artifact_sha256 == "a" * 64
    assert stages[0] == "starting the worker"
    assert "warming up" in stages


def test_energy_without_a_sensor_is_labelled_an_estimate(profiler, network):
    measurement = measure(profiler, network)
    energy, p50_ms = measurement.energy, measurement.latency.p50_ms.value
    assert energy.provenance is Provenance.ESTIMATED
    assert energy.gross_mj == pytest.approx(3.0 * p50_ms)
    assert energy.net_mj == pytest.approx(1.0 * p50_ms)
    assert (energy.lower_mj, energy.upper_mj) == (None, None)
    assert "no sensor" in energy.remark


def test_a_percentile_with_too_few_samples_is_absent(profiler, wild):
    measurement = measure(profiler, wild("behave"), minimum_samples=1, minimum_duration_s=0.0)
    assert measurement.outcome is Outcome.OK, measurement.detail
    assert measurement.latency.sample_count < 36
    assert measurement.latency.p95_ms is None
    assert measurement.latency.p99_ms is None
    assert "no p95: it needs 72 samples" in measurement.latency.remarks


def test_a_run_that_ends_before_its_minima_says_so(profiler, wild):
    measurement = measure(profiler, wild("behave"), minimum_samples=100_000, maximum_duration_s=0.3)
    assert measurement.outcome is Outcome.OK, measurement.detail
    assert measurement.latency.quality is Quality.LOW
    assert "ended by the time limit before enough was timed" in measurement.latency.remarks


@pytest.mark.parametrize(
    ("behaviour", "outcome", "words"),
    [
        ("segfault", Outcome.CRASHED, "killed by SIGSEGV"),
        ("abort", Outcome.CRASHED, "killed by SIGABRT"),
        ("garbage", Outcome.CRASHED, "not a result: not JSON"),
        ("forged_message", Outcome.CRASHED, "not a result: Report.loaded lacks a field"),
        ("endless_message", Outcome.CRASHED, "not a result: a message longer than"),
        ("silence", Outcome.CRASHED, "fell silent"),
        ("leave", Outcome.CRASHED, "status 0 and without a result"),
        ("be_terminated", Outcome.CANCELLED, "SIGTERM"),
        ("refuse", Outcome.UNSUPPORTED, "operator Frobnicate is not known"),
        ("refuse_at_length", Outcome.UNSUPPORTED, "[31mno www"),
        ("chatter", Outcome.OK, ""),
    ],
)
def test_whatever_a_worker_does_is_an_outcome(profiler, wild, tmp_path, behaviour, outcome, words):
    measurement = measure(profiler, wild(behaviour))
    assert measurement.outcome is outcome, measurement.detail
    assert words in measurement.detail
    assert measurement.detail.isprintable()
    assert len(measurement.detail) <= 300
    assert process_is_gone(int((tmp_path / "process.id").read_text()))


@pytest.mark.parametrize("behaviour", ["hang", "hang_against_sigterm", "spin"])
def test_a_worker_that_does_not_end_is_ended(tmp_path, wild, behaviour):
    measurement = measure(make_profiler(tmp_path, timeout_s=1.0), wild(behaviour))
    assert measurement.outcome is Outcome.TIMED_OUT
    assert process_is_gone(int((tmp_path / "process.id").read_text()))


@pytest.mark.parametrize("behaviour", ["hog", "native_hog"])
def test_a_worker_that_eats_memory_runs_against_its_limit(tmp_path, wild, behaviour):
    measurement = measure(make_profiler(tmp_path, memory_limit_bytes=400 * 2**20), wild(behaviour))
    assert measurement.outcome is Outcome.OUT_OF_MEMORY, measurement.detail


def test_a_model_too_large_for_the_memory_is_out_of_memory(tmp_path):
    artifact = save_model(
        tmp_path / "huge.onnx",
        [helper.make_node("ConstantOfShape", ["size"], ["y"])],
        inputs=[],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        initializers=[helper.make_tensor("size", TensorProto.INT64, [1], [2_000_000_000])],
    )
    measurement = measure(make_profiler(tmp_path, memory_limit_bytes=400 * 2**20), artifact)
    assert measurement.outcome is Outcome.OUT_OF_MEMORY, measurement.detail


def test_a_fork_bomb_goes_off_in_nobodys_face(profiler, wild, tmp_path):
    measurement = measure(profiler, wild("fork_bomb"))
    assert measurement.outcome is Outcome.CRASHED
    assert "Operation not permitted" in measurement.detail
    assert process_is_gone(int((tmp_path / "process.id").read_text()))


def test_a_worker_reaches_no_network(profiler, wild):
    measurement = measure(profiler, wild("open_socket"))
    assert measurement.outcome is Outcome.CRASHED
    assert "Operation not permitted" in measurement.detail


def test_an_operator_that_the_runtime_lacks_is_unsupported(profiler, tmp_path):
    artifact = save_model(
        tmp_path / "odd.onnx",
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="nowhere")],
        inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        domains=("", "nowhere"),
    )
    measurement = measure(profiler, artifact)
    assert measurement.outcome is Outcome.UNSUPPORTED
    assert "Frobnicate" in measurement.detail
    assert measurement.conditions.runtime == "onnxruntime"


def test_a_file_that_is_no_model_is_unsupported(profiler, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a model")
    assert measure(profiler, tmp_path / "broken.onnx").outcome is Outcome.UNSUPPORTED


def test_a_missing_artifact_is_unsupported(profiler, tmp_path):
    measurement = measure(profiler, tmp_path / "nothing.onnx")
    assert measurement.outcome is Outcome.UNSUPPORTED
    assert "cannot be read" in measurement.detail


@pytest.mark.parametrize(("artifact_format", "runtime"), [("nobodys", ""), ("onnx", "frobtime"), ("onnx", "litert")])
def test_without_a_fitting_runtime_it_is_unavailable(profiler, tmp_path, artifact_format, runtime):
    artifact = tmp_path / f"model.{artifact_format}"
    artifact.write_bytes(b"")
    measurement = measure(profiler, artifact, runtime=runtime)
    assert measurement.outcome is Outcome.RUNTIME_UNAVAILABLE
    assert runtime in measurement.detail


def test_outputs_off_the_golden_ones_fail(profiler, network, golden, tmp_path):
    with numpy.load(golden) as archive:
        inputs, outputs = archive["input_0"], archive["output_0"].copy()
    outputs[17, 3] += 0.01 * numpy.abs(outputs).max()
    numpy.savez(tmp_path / "wrong.npz", input_0=inputs, output_0=outputs)
    measurement = measure(profiler, network, golden=tmp_path / "wrong.npz")
    assert measurement.outcome is Outcome.NUMERICS_FAILED
    assert measurement.numerics.maximum_relative_error == pytest.approx(0.01, rel=0.05)
    assert measurement.latency is None
    assert measure(profiler, network, golden=tmp_path / "wrong.npz", golden_tolerance=0.02).outcome is Outcome.OK


def test_a_golden_file_that_is_none_fails(profiler, network, tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK not really")
    measurement = measure(profiler, network, golden=tmp_path / "broken.npz")
    assert measurement.outcome is Outcome.NUMERICS_FAILED
    assert "golden file" in measurement.detail


def test_a_check_compares_and_times_for_a_moment(profiler, network, golden):
    measurement = asyncio.run(
        profiler.check(
            artifact_path=network, artifact_format="onnx", golden_path=golden, tolerance=1e-4, on_progress=[].append
        )
    )
    assert measurement.outcome is Outcome.OK, measurement.detail
    assert measurement.numerics.checked
    assert measurement.latency.sample_count >= 20
    assert measurement.energy is None
    assert len(measurement.artifact_sha256) == 64


def test_a_check_of_a_crashing_model_is_an_outcome(profiler, wild):
    measurement = asyncio.run(
        profiler.check(
            artifact_path=wild("segfault"), artifact_format="wild", golden_path=None, tolerance=0.0,
            on_progress=[].append,
        )
    )  # fmt: skip
    assert measurement.outcome is Outcome.CRASHED


def test_cancelling_kills_the_worker_and_the_profiler_goes_on(profiler, wild, tmp_path):
    process_file = tmp_path / "process.id"

    async def scenario():
        task = asyncio.ensure_future(
            profiler.measure(
                request("wild"), artifact_path=wild("hang_against_sigterm"), golden_path=None, on_progress=[].append
            )
        )
        while not (process_file.exists() and process_file.read_text()):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert process_is_gone(int(process_file.read_text()))
        return await profiler.measure(
            request("wild"), artifact_path=wild("behave"), golden_path=None, on_progress=[].append
        )

    assert asyncio.run(scenario()).outcome is Outcome.OK


def test_two_measurements_take_turns(profiler, wild):
    artifact = wild("behave")
    stages: list[str] = []

    async def scenario():
        return await asyncio.gather(
            *(
                profiler.measure(request("wild"), artifact_path=artifact, golden_path=None, on_progress=stages.append)
                for _ in range(2)
            )
        )

    first, second = asyncio.run(scenario())
    assert (first.outcome, second.outcome) == (Outcome.OK, Outcome.OK)
    assert first.result_id != second.result_id
    assert stages.count("waiting for training on this host to pause") == 1
    begins = [index for index, stage in enumerate(stages) if stage == "starting the worker"]
    last_of_first = max(index for index in range(begins[1]) if stages[index].startswith("timing"))
    assert begins[0] < last_of_first < begins[1]


AGENT = """
import asyncio, sys
from pathlib import Path
from agent.profiling.exclusion import HostLock
from agent.profiling.measurement import MeasureRequest
from agent.profiling.profiler import Profiler

artifact, directory = Path(sys.argv[1]), Path(sys.argv[2])
request = MeasureRequest(
    artifact_sha256="", artifact_size_bytes=0, artifact_format=artifact.suffix[1:], minimum_samples=20,
    minimum_duration_s=0.1, maximum_duration_s=0.5,
)
profiler = Profiler(host_lock=HostLock(directory / "lock"))
measurement = asyncio.run(
    profiler.measure(request, artifact_path=artifact, golden_path=None, on_progress=lambda stage: None)
)
loaded = [name for name in ("numpy", "onnxruntime", "torch", "ray") if name in sys.modules]
print(measurement.outcome.value, loaded)
"""


def test_the_agent_itself_loads_neither_numpy_nor_a_runtime(network, tmp_path):
    agent = [sys.executable, "-c", AGENT, network, tmp_path]
    finished = subprocess.run(agent, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert finished.stdout.split() == ["ok", "[]"], finished.stderr


def test_a_worker_does_not_outlive_its_agent(wild, tmp_path):
    process_file = tmp_path / "process.id"
    with subprocess.Popen([sys.executable, "-c", AGENT, wild("hang"), tmp_path], cwd=ROOT) as agent:
        deadline = time.monotonic() + 30
        while not (process_file.exists() and process_file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(agent.pid, signal.SIGKILL)
    assert process_is_gone(int(process_file.read_text()), within_s=10)
