"""ONNX files whose weights are stored in fewer bits: functions on the bytes of a model.

Each weight is stored in its narrow form, and a few nodes behind it make float32 of it. A runtime computes these nodes
once, when it loads the file; what it then runs is the float model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from pipelines.errors import ExportError, NothingChangedError, UnsupportedModelError
from pipelines.export.onnx_graph import clean, to_bytes
from pipelines.quantize.codebook import codebook_of
from pipelines.quantize.integer_rows import quantized_rows

# The first opset whose operators read four-bit tensors.
FOUR_BIT_OPSET = 21
# What the nodes behind a weight take in the file, about.
NODE_BYTES = 64
_HALF_MAXIMUM = float(np.finfo(np.float16).max)


def store_half(content: bytes) -> bytes:
    """The model with its weights stored as float16.

    Raises:
        NothingChangedError: It has none that would take fewer bytes.
        UnsupportedModelError: A weight is too large for float16.
    """

    def store(rewriting: Rewriting, weight: NDArray[Any], reader: Reader) -> str | None:
        if weight.size * 2 < NODE_BYTES:
            return None
        if np.abs(weight).max() > _HALF_MAXIMUM:
            raise UnsupportedModelError(
                f"a weight of {np.abs(weight).max():g} is above float16's largest number, {_HALF_MAXIMUM:g}"
            )
        return rewriting.node("Cast", rewriting.tensor(weight.astype(np.float16)), to=TensorProto.FLOAT)

    return _rewritten(content, store, vectors=True)


def store_integers(content: bytes, *, bits: int, block: int | None) -> bytes:
    """The model with its weights stored as signed integers with a float16 scale for each output channel or block.

    Args:
        content: A float model.
        bits: 8 or 4.
        block: Neighbouring weights that share a scale; None: all of an output channel.

    Raises:
        NothingChangedError: It has no weights that would take fewer bytes.
        UnsupportedModelError: A scale is too large for float16.
    """

    def store(rewriting: Rewriting, weight: NDArray[Any], reader: Reader) -> str | None:
        row_axes, permutation = reader.rows(weight.ndim)
        turned = weight.transpose(permutation)
        rows = turned.reshape(math.prod(turned.shape[:row_axes]), -1)
        if block is not None:
            rows = rows.reshape(-1, _block_length(rows.shape[1], block))
        if rows.size * bits // 8 + 2 * len(rows) + 2 * NODE_BYTES >= 4 * weight.size:
            return None
        integers, scales = quantized_rows(rows, bits=bits)
        stored = rewriting.tensor(integers) if bits == 8 else rewriting.four_bits(integers, TensorProto.INT4)
        widened = rewriting.node("Cast", stored, to=TensorProto.FLOAT)
        scale = rewriting.node("Cast", rewriting.tensor(scales[:, None]), to=TensorProto.FLOAT)
        product = rewriting.node("Mul", widened, scale)
        shaped = rewriting.node("Reshape", product, rewriting.tensor(np.array(turned.shape, dtype=np.int64)))
        if permutation == tuple(range(weight.ndim)):
            return shaped
        return rewriting.node("Transpose", shaped, perm=[int(axis) for axis in np.argsort(permutation)])

    return _rewritten(content, store, opset=FOUR_BIT_OPSET if bits == 4 else None)


def store_shared(content: bytes, *, bits: int) -> bytes:
    """The model with each weight stored as the number of its value in its layer's codebook of ``2**bits`` values.

    Raises:
        NothingChangedError: It has no weights that would take fewer bytes.
    """

    def store(rewriting: Rewriting, weight: NDArray[Any], reader: Reader) -> str | None:
        index_bytes = (weight.size + 1) // 2 if bits <= 4 else weight.size
        if index_bytes + 4 * 2**bits + NODE_BYTES >= 4 * weight.size:
            return None
        codebook, indices = codebook_of(weight, size=2**bits)
        stored = rewriting.four_bits(indices, TensorProto.UINT4) if bits <= 4 else rewriting.tensor(indices)
        numbers = rewriting.node("Cast", stored, to=TensorProto.INT32)
        return rewriting.node("Gather", rewriting.tensor(codebook), numbers)

    return _rewritten(content, store, opset=FOUR_BIT_OPSET if bits <= 4 else None)


class Reader:
    """The first node that reads a weight, and as which of its inputs."""

    def __init__(self, node: onnx.NodeProto, index: int) -> None:
        self._node = node
        self._index = index

    def rows(self, ndim: int) -> tuple[int, tuple[int, ...]]:
        """How many leading axes number the output channels, once the axes stand in this order."""
        axes = tuple(range(ndim))
        op_type = self._node.op_type
        if op_type in ("LSTM", "GRU", "RNN"):
            return ndim - 1, axes
        turned_matrix = op_type == "Gemm" and not any(
            attribute.name == "transB" and attribute.i for attribute in self._node.attribute
        )
        if self._index == 1 and (op_type == "MatMul" or turned_matrix):
            return ndim - 1, (*axes[:-2], axes[-1], axes[-2])
        return 1, axes


class Rewriting:
    """A graph that gets tensors and nodes in place of a weight."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._count = 0
        self.nodes: list[onnx.NodeProto] = []

    def tensor(self, array: NDArray[Any]) -> str:
        """The name of a new tensor with these values."""
        name = self._new_name()
        self._graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def four_bits(self, array: NDArray[Any], data_type: int) -> str:
        """The name of a new tensor with these values, two of them to a byte, the first one in the low half."""
        halves = array.ravel().astype(np.uint8) & 0xF
        if len(halves) % 2:
            halves = np.append(halves, np.uint8(0))
        packed = (halves[0::2] | (halves[1::2] << 4)).astype(np.uint8).tobytes()
        name = self._new_name()
        self._graph.initializer.append(helper.make_tensor(name, data_type, array.shape, packed, raw=True))
        return name

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """The name of the output of a new node."""
        name = self._new_name()
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], **attributes))
        return name

    def _new_name(self) -> str:
        self._count += 1
        return f"fleetfit_{self._count}"


Store = Callable[[Rewriting, NDArray[Any], Reader], str | None]


def _rewritten(content: bytes, store: Store, *, opset: int | None = None, vectors: bool = False) -> bytes:
    """The model with what ``store`` makes of each of its float weights; None from it leaves one as it is."""
    model = onnx.load_from_string(content)
    if opset is not None:
        model = _at_least(model, opset)
    graph = model.graph
    weights = {
        weight.name: weight
        for weight in graph.initializer
        if weight.data_type == TensorProto.FLOAT and len(weight.dims) > (0 if vectors else 1)
    }
    rewriting = Rewriting(graph)
    replaced: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in weights:
                made = store(rewriting, numpy_helper.to_array(weights.pop(name)), Reader(node, index))
                if made is not None:
                    replaced[name] = made
    if not replaced:
        raise NothingChangedError("no weight would take fewer bytes")
    for node in graph.node:
        node.input[:] = [replaced.get(name, name) for name in node.input]
    ordered = [*rewriting.nodes, *graph.node]
    del graph.node[:]
    graph.node.extend(ordered)
    # The replaced weights are read by nothing now, and go with all that nothing reads.
    return to_bytes(clean(model))


def _block_length(row: int, block: int) -> int:
    """The longest length that a row divides into, from half a block to a block; the whole row where there is none."""
    return next((length for length in range(min(block, row), block // 2, -1) if row % length == 0), row)


def _at_least(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    current = next(each.version for each in model.opset_import if each.domain == "")
    if current >= opset:
        return model
    try:
        return version_converter.convert_version(model, opset)
    except RuntimeError as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ExportError(f"the ONNX file cannot be brought to opset {opset}: {first_line}") from error
