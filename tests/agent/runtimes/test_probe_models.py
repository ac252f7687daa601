from __future__ import annotations

import numpy
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from agent.runtimes.probe_models import PROBE_MODELS


def test_the_onnx_bytes_are_the_model_that_their_comments_say():
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    kept = onnx.load_from_string(PROBE_MODELS["onnx"])
    assert kept == made
    onnx.checker.check_model(kept, full_check=True)
    feed = numpy.array([[1, 2, 3, 4], [5, 6, 7, 8]], dtype=numpy.float32)
    assert numpy.array_equal(ReferenceEvaluator(kept).run(None, {"x": feed})[0], feed * 2)


def test_the_tflite_bytes_are_what_the_schema_packs():
    flatbuffers = pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="ai-edge-litert is not installed")

    def tensor(name: bytes):
        made = schema.TensorT()
        made.name, made.shape, made.shapeSignature = name, [1, 4], [-1, 4]
        made.type, made.buffer = schema.TensorType.FLOAT32, 0
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 1
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 0], [1]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = [tensor(b"x"), tensor(b"y")], [0], [1]
    graph.operators = [operator]
    model = schema.ModelT()
    model.version, model.description = 3, b""
    model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert PROBE_MODELS["tflite"] == bytes(builder.Output())
