from __future__ import annotations

import numpy
import onnx
import pytest
from onnx import TensorProto, helper

from agent.runtimes.errors import RuntimeUnavailableError, UnsupportedModelError
from agent.runtimes.onnxruntime import OnnxRuntime


def load(tmp_path, node, *, inputs, outputs, **options):
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return OnnxRuntime().load(path, threads=1, **options)


def test_an_output_whose_size_depends_on_values_may_change(tmp_path):
    model = load(
        tmp_path,
        helper.make_node("NonZero", ["x"], ["y"]),
        inputs=[("x", TensorProto.FLOAT, [4])],
        outputs=[("y", TensorProto.INT64, [1, "count"])],
    )
    found = []
    for values in ([0, 1, 2, 0], [1, 1, 1, 0], [0, 0, 0, 0]):
        model.bind([numpy.array(values, dtype=numpy.float32)])
        model.run()
        found.append(model.fetch()[0].tolist())
    assert found == [[[1, 2]], [[0, 1, 2]], [[]]]


def test_a_model_without_inputs_runs(tmp_path):
    value = helper.make_tensor("value", TensorProto.FLOAT, [2], [3.0, 4.0])
    model = load(
        tmp_path,
        helper.make_node("Constant", [], ["y"], value=value),
        inputs=[],
        outputs=[("y", TensorProto.FLOAT, [2])],
    )
    model.bind([])
    model.run()
    assert model.fetch()[0].tolist() == [3.0, 4.0]


def test_free_dimensions_and_types_are_told(tmp_path):
    model = load(
        tmp_path,
        helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64),
        inputs=[("x", TensorProto.UINT8, ["batch", 3, None])],
        outputs=[("y", TensorProto.INT64, ["batch", 3, None])],
    )
    assert [(spec.dtype, spec.shape) for spec in model.inputs] == [("uint8", (None, 3, None))]
    assert [(spec.dtype, spec.shape) for spec in model.outputs] == [("int64", (None, 3, None))]


def test_an_input_that_is_no_tensor_of_numbers_is_unsupported(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"'x' is of type tensor\(string\)"):
        load(
            tmp_path,
            helper.make_node("Identity", ["x"], ["y"]),
            inputs=[("x", TensorProto.STRING, [1])],
            outputs=[("y", TensorProto.STRING, [1])],
        )


def test_a_shape_that_fails_in_the_model_is_unsupported(tmp_path):
    model = load(
        tmp_path,
        helper.make_node("MatMul", ["a", "b"], ["y"]),
        inputs=[("a", TensorProto.FLOAT, ["m", "k"]), ("b", TensorProto.FLOAT, ["l", "n"])],
        outputs=[("y", TensorProto.FLOAT, ["m", "n"])],
    )
    model.bind([numpy.ones((2, 3), numpy.float32), numpy.ones((4, 2), numpy.float32)])
    with pytest.raises(UnsupportedModelError, match="cannot run the model"):
        model.run()


def test_a_provider_that_this_build_lacks_is_unavailable(tmp_path):
    with pytest.raises(RuntimeUnavailableError, match="FrobExecutionProvider"):
        load(
            tmp_path,
            helper.make_node("Identity", ["x"], ["y"]),
            inputs=[("x", TensorProto.FLOAT, [1])],
            outputs=[("y", TensorProto.FLOAT, [1])],
            provider="FrobExecutionProvider",
        )
