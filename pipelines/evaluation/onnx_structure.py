"""The structure of an ONNX file."""

from __future__ import annotations

import math

import onnx

from pipelines.export.onnx_graph import graphs


def describe(content: bytes) -> bytes:
    """The file with the values of its weights taken out, as canonical bytes.

    Whole numbers of 64 bits stay: they are shapes and axes, which the structure is made of. Names stay: an export gives
    them in the order of use.
    """
    model = onnx.load_from_string(content)
    for graph in graphs(model.graph):
        for weight in graph.initializer:
            _blank(weight)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    _blank(attribute.t)
    return bytes(model.SerializeToString(deterministic=True))


def weight_bytes(content: bytes) -> int:
    """Bytes of all weights in the file, shapes and axes not counted."""
    model = onnx.load_from_string(content)
    return sum(
        _tensor_bytes(weight)
        for graph in graphs(model.graph)
        for weight in graph.initializer
        if weight.data_type != onnx.TensorProto.INT64
    )


def _blank(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == onnx.TensorProto.INT64:
        return
    for field in ("raw_data", "float_data", "int32_data", "double_data", "uint64_data", "string_data"):
        tensor.ClearField(field)


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    count = math.prod(tensor.dims)
    return int(count * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
