from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.quantize.onnx_int8 import overflows, quantize_dynamic, quantize_static, range_is_reduced
from tests.fakes.workloads import striped_images

IMAGES = striped_images(64, seed=3)[0].numpy()
SAMPLES = [(IMAGES[row : row + 1],) for row in range(64)]


@pytest.fixture
def float_model(settled_onnx: Artifact) -> bytes:
    return settled_onnx.content


def _static(content: bytes, **settings: Any) -> bytes:
    arguments: dict[str, Any] = {"per_channel": True, "signed_activations": False, "reduce_range": False, **settings}
    return quantize_static(content, SAMPLES, **arguments)


def _weights(content: bytes, data_type: int) -> list[NDArray[Any]]:
    graph = onnx.load_from_string(content).graph
    return [numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.data_type == data_type]


def _outputs(content: bytes) -> NDArray[Any]:
    session = open_artifact(Artifact(content=content, format="onnx"))
    return np.concatenate([session.run(sample)[0] for sample in SAMPLES])


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_the_file_holds_eight_bit_weights_and_is_smaller(float_model: bytes, dynamic: bool) -> None:
    quantized = quantize_dynamic(float_model, per_channel=True, reduce_range=False) if dynamic else _static(float_model)
    large_floats = [array for array in _weights(quantized, TensorProto.FLOAT) if array.ndim > 1]
    assert large_floats == []
    assert {array.shape for array in _weights(quantized, TensorProto.INT8) if array.ndim == 4} == {
        (16, 1, 3, 3), (16, 16, 3, 3), (24, 16, 3, 3), (24, 24, 3, 3), (24, 16, 1, 1),
    }  # fmt: skip
    assert len(quantized) < 0.5 * len(float_model)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_outputs_stay_near_and_are_still_floating_point(float_model: bytes, dynamic: bool) -> None:
    quantized = quantize_dynamic(float_model, per_channel=True, reduce_range=False) if dynamic else _static(float_model)
    expected, found = _outputs(float_model), _outputs(quantized)
    assert found.dtype == np.float32
    assert np.abs(expected - found).max() / np.abs(expected).max() < 0.1
    assert np.abs(expected - found).max() > 0


def test_each_output_channel_has_a_scale_of_its_own(float_model: bytes) -> None:
    def scales(content: bytes) -> set[tuple[int, ...]]:
        return {array.shape for array in _weights(content, TensorProto.FLOAT)}

    assert {(16,), (24,)} <= scales(_static(float_model))
    assert not {(16,), (24,)} & scales(_static(float_model, per_channel=False))


def test_a_reduced_range_uses_seven_bits(float_model: bytes) -> None:
    full = np.concatenate([array.ravel() for array in _weights(_static(float_model), TensorProto.INT8)])
    reduced = _static(float_model, reduce_range=True)
    narrow = np.concatenate([array.ravel() for array in _weights(reduced, TensorProto.INT8)])
    assert full.max() == 127
    assert (narrow.min() >= -64, narrow.max() <= 64) == (True, True)


def test_activations_are_signed_where_asked(float_model: bytes) -> None:
    assert _weights(_static(float_model), TensorProto.UINT8)
    assert not _weights(_static(float_model, signed_activations=True), TensorProto.UINT8)


def test_ranges_come_from_the_samples(float_model: bytes) -> None:
    wide = [(sample[0] * 50,) for sample in SAMPLES]
    arguments: dict[str, Any] = {"per_channel": True, "signed_activations": False, "reduce_range": False}
    narrow = _outputs(_static(float_model))
    coarse = _outputs(quantize_static(float_model, wide, **arguments))
    exact = _outputs(float_model)
    assert np.abs(coarse - exact).mean() > 3 * np.abs(narrow - exact).mean()


def test_the_cleaned_file_is_smaller_and_still_runs_in_whole_numbers(float_model: bytes, tmp_path: Path) -> None:
    content = _static(float_model)
    zeros = [array for array in _weights(content, TensorProto.INT32) if not array.any()]
    # Those of the last layer's bias: without them, it would be computed in floating point.
    assert len(zeros) == 1
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    operators = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert {"QLinearConv", "QLinearAdd", "QGemm"} <= operators
    assert not {"Conv", "Gemm", "Add"} & operators
    assert len(content) < 17_950


def test_the_same_samples_give_the_same_bytes(float_model: bytes) -> None:
    assert _static(float_model) == _static(float_model)


@pytest.mark.parametrize(
    ("machine", "flags", "expected"),
    [
        ("x86_64", {"sse2", "avx2"}, True),
        ("x86_64", {"avx2", "avx512f"}, True),
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, False),
        ("x86_64", {"avx2", "avx_vnni"}, False),
        ("AMD64", set(), True),
        ("aarch64", set(), False),
        ("armv7l", set(), False),
    ],
)
def test_int8_overflows_only_on_x86_without_vnni(machine: str, flags: set[str], expected: bool) -> None:
    assert overflows(machine, flags) is expected


def test_a_choice_goes_before_what_the_processor_can_do() -> None:
    remarks: list[str] = []
    assert range_is_reduced(True, remarks.append) is True
    assert range_is_reduced(False, remarks.append) is False
    assert remarks == []
    assert range_is_reduced("auto", remarks.append) is bool(remarks)
