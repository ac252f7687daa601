from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.export.onnx_graph import clean, to_bytes


def _branching_model() -> onnx.ModelProto:
    """``x > 0 ? x + bias : x * scale`` on a scalar, described at length, with a weight that nothing reads."""
    then_branch = helper.make_graph(
        [helper.make_node("Add", ["the_input", "the_bias"], ["then_value"], name="add_node")],
        "then_branch", [], [helper.make_tensor_value_info("then_value", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    else_branch = helper.make_graph(
        [helper.make_node("Mul", ["the_input", "the_scale"], ["else_value"], doc_string="multiplies")],
        "else_branch", [], [helper.make_tensor_value_info("else_value", TensorProto.FLOAT, [1])],
        [numpy_helper.from_array(np.array([3.0], dtype=np.float32), "the_scale")],
    )  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Greater", ["the_input", "the_zero"], ["is_positive"]),
            helper.make_node("Clip", ["the_input", "", "the_top"], ["clipped"]),
            helper.make_node("Squeeze", ["is_positive"], ["condition"]),
            helper.make_node("If", ["condition"], ["the_output"], then_branch=then_branch, else_branch=else_branch),
        ],
        "a_graph_with_a_long_name",
        [helper.make_tensor_value_info("the_input", TensorProto.FLOAT, [1])],
        [
            helper.make_tensor_value_info("the_output", TensorProto.FLOAT, [1]),
            helper.make_tensor_value_info("clipped", TensorProto.FLOAT, [1]),
        ],
        [
            numpy_helper.from_array(np.array([0.0], dtype=np.float32), "the_zero"),
            numpy_helper.from_array(np.array([10.0], dtype=np.float32), "the_bias"),
            numpy_helper.from_array(np.array(2.0, dtype=np.float32), "the_top"),
            numpy_helper.from_array(np.zeros(1000, dtype=np.float32), "nobody_reads_this"),
        ],
        doc_string="a description",
        value_info=[helper.make_tensor_value_info("is_positive", TensorProto.BOOL, [1])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("never.used", 1)], producer_version="9"
    )
    helper.set_model_props(model, {"note": "made on Tuesday"})
    return model


@pytest.mark.parametrize(("value", "expected"), [(1.0, (11.0, 1.0)), (5.0, (15.0, 2.0)), (-2.0, (-6.0, -2.0))])
def test_a_cleaned_graph_computes_the_same_in_every_branch(value: float, expected: tuple[float, float]) -> None:
    model = clean(_branching_model())
    onnx.checker.check_model(model, full_check=True)
    found = open_artifact(Artifact(content=to_bytes(model), format="onnx")).run([np.array([value], dtype=np.float32)])
    assert [array.item() for array in found] == list(expected)


def test_what_no_runtime_needs_is_gone() -> None:
    content = to_bytes(clean(_branching_model()))
    for word in (b"Tuesday", b"description", b"multiplies", b"nobody", b"the_", b"add_node", b"long_name", b"never"):
        assert word not in content
    assert len(content) < 600


def test_attributes_that_say_what_holds_anyway_are_gone() -> None:
    image, kernel = np.ones((1, 1, 6, 6), dtype=np.float32), np.ones((2, 1, 3, 3), dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node(
                "Conv", ["x", "w"], ["c"],
                strides=[1, 1], dilations=[1, 1], pads=[0, 0, 0, 0], group=1, auto_pad="NOTSET", kernel_shape=[3, 3],
            ),
            helper.make_node("MaxPool", ["c"], ["p"], strides=[2, 2], kernel_shape=[2, 2], ceil_mode=0),
            helper.make_node("ReduceSum", ["p", "axes"], ["y"], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(kernel, "w"), numpy_helper.from_array(np.array([2, 3]), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    cleaned = clean(model)
    left = [{attribute.name for attribute in node.attribute} for node in cleaned.graph.node]
    assert left == [{"kernel_shape"}, {"strides", "kernel_shape"}, {"keepdims"}]
    onnx.checker.check_model(cleaned, full_check=True)
    before, after = (
        open_artifact(Artifact(content=content, format="onnx")).run([image])
        for content in (model.SerializeToString(), to_bytes(cleaned))
    )
    assert np.array_equal(before[0], after[0])


def test_the_model_that_was_given_is_left_as_it_was() -> None:
    model = _branching_model()
    before = model.SerializeToString(deterministic=True)
    clean(model)
    assert model.SerializeToString(deterministic=True) == before


def test_cleaning_twice_changes_nothing_more() -> None:
    once = clean(_branching_model())
    assert to_bytes(clean(once)) == to_bytes(once)
