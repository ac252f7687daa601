"""The structure of a TFLite file, read with the schema that LiteRT brings."""

from __future__ import annotations

import json
from typing import Any

from ai_edge_litert import schema_py_generated as schema

# Whole numbers: shapes and axes, which the structure is made of. int32 is also the type of an int8 layer's bias.
_SHAPE_TYPES = (schema.TensorType.INT64, schema.TensorType.INT32)


def describe(content: bytes) -> bytes:
    """Operators with their options, and tensors with shape and type, without the values of weights or their scales."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    description = {
        "operators": [[code.builtinCode, code.version] for code in model.operatorCodes],
        "graphs": [_graph(graph, model.buffers) for graph in model.subgraphs],
    }
    return json.dumps(description, sort_keys=True).encode()


def weight_bytes(content: bytes) -> int:
    """Bytes of all weights in the file, shapes and axes not counted."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    counted = {
        tensor.buffer for graph in model.subgraphs for tensor in graph.tensors if not _is_shape(tensor, model.buffers)
    }
    return sum(len(_data(model.buffers[buffer])) for buffer in counted)


def _graph(graph: Any, buffers: list[Any]) -> dict[str, Any]:
    return {
        "tensors": [_tensor(tensor, buffers) for tensor in graph.tensors],
        "inputs": _numbers(graph.inputs),
        "outputs": _numbers(graph.outputs),
        "operators": [
            [operator.opcodeIndex, _numbers(operator.inputs), _numbers(operator.outputs), _options(operator)]
            for operator in graph.operators
        ],
    }


def _tensor(tensor: Any, buffers: list[Any]) -> list[Any]:
    scales = 0 if tensor.quantization is None or tensor.quantization.scale is None else len(tensor.quantization.scale)
    constant = len(_data(buffers[tensor.buffer]))
    shape_values = _data(buffers[tensor.buffer]).hex() if _is_shape(tensor, buffers) else ""
    return [tensor.type, _numbers(tensor.shape), scales, constant, shape_values]


def _is_shape(tensor: Any, buffers: list[Any]) -> bool:
    """Whether a constant tensor holds a shape or axes: whole numbers that are no quantized weights."""
    quantized = tensor.quantization is not None and tensor.quantization.scale is not None
    return tensor.type in _SHAPE_TYPES and not quantized and len(_data(buffers[tensor.buffer])) > 0


def _data(buffer: Any) -> bytes:
    return b"" if buffer.data is None else bytes(buffer.data)


def _numbers(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]


def _options(operator: Any) -> dict[str, Any]:
    options = operator.builtinOptions
    if options is None:
        return {}
    return {name: value for name, value in vars(options).items() if isinstance(value, int | float | str | bool)}
