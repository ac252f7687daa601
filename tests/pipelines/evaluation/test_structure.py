from __future__ import annotations

import copy
from dataclasses import replace

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from pipelines.evaluation.structure import structure_sha256, weight_bytes
from pipelines.export.artifact import Artifact
from pipelines.export.onnx import export_onnx
from pipelines.quantize.onnx_int8 import quantize_dynamic

EXAMPLE = (torch.zeros(1, 1, 8, 8),)


@pytest.fixture(scope="module")
def other_weights(settled_model: nn.Module) -> Artifact:
    module = copy.deepcopy(settled_model)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5).add_(0.1)
    return export_onnx(module, EXAMPLE)


def test_other_weights_are_the_same_structure(settled_onnx: Artifact, other_weights: Artifact) -> None:
    assert other_weights.sha256 != settled_onnx.sha256
    assert structure_sha256(other_weights) == structure_sha256(settled_onnx)


def _edited(artifact: Artifact, kind: str) -> Artifact:
    model = onnx.load_from_string(artifact.content)
    graph = model.graph
    if kind == "a shape":
        weight = next(tensor for tensor in graph.initializer if len(tensor.dims) == 4)
        array = numpy_helper.to_array(weight)
        weight.CopyFrom(numpy_helper.from_array(array[:-1], weight.name))
    elif kind == "a type":
        weight = graph.initializer[0]
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype("float16"), weight.name))
    elif kind == "a stride":
        strides = next(a for node in graph.node for a in node.attribute if a.name == "strides" and a.ints[0] == 2)
        strides.ints[0] = 1
    elif kind == "an operator":
        next(node for node in graph.node if node.op_type == "Relu").op_type = "Sigmoid"
    elif kind == "an axis":
        axes = next(tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT64)
        axes.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(axes) + 1, axes.name))
    else:
        del graph.node[-1]
    return replace(artifact, content=model.SerializeToString(deterministic=True))


@pytest.mark.parametrize("kind", ["a shape", "a type", "a stride", "an operator", "an axis", "a node less"])
def test_anything_else_is_another_structure(settled_onnx: Artifact, kind: str) -> None:
    assert structure_sha256(_edited(settled_onnx, kind)) != structure_sha256(settled_onnx)


def test_the_bytes_of_weights_are_read_off_the_file(settled_model: nn.Module, settled_onnx: Artifact) -> None:
    folded = sum(p.numel() for name, p in settled_model.named_parameters() if p.ndim > 1 or name == "5.bias")
    biases = sum(layer.num_features for layer in settled_model.modules() if isinstance(layer, nn.BatchNorm2d))
    assert weight_bytes(settled_onnx) == 4 * (folded + biases)
    int8 = Artifact(content=quantize_dynamic(settled_onnx.content, per_channel=True, reduce_range=False), format="onnx")
    assert weight_bytes(settled_onnx) / 4 < weight_bytes(int8) < weight_bytes(settled_onnx) / 3
