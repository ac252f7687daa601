"""An ONNX graph without what no runtime needs: on a small network, names and traces are a tenth of the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import onnx

PRODUCER = "fleetfit"

# What slides over its input, and the value of its attributes that the schema names in words only.
_SLIDING = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "ConvInteger", "QLinearConv")
_SLIDING_DEFAULTS = {"strides": 1, "dilations": 1, "pads": 0}


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that computes the same and says nothing else.

    Descriptions, traces, shapes of intermediate values, weights that nothing reads, names of nodes, attributes that say
    what holds without them, and the zeros that symmetric weights have for zero points go. Inputs are
    ``input_0`` …, outputs ``output_0`` …; every other value has the shortest name that is free, in the order of use.
    """
    cleaned = onnx.ModelProto()
    cleaned.CopyFrom(model)
    cleaned.producer_name = PRODUCER
    for field in ("producer_version", "doc_string", "domain", "model_version", "metadata_props"):
        cleaned.ClearField(field)
    versions = {opset.domain: opset.version for opset in cleaned.opset_import}
    for graph in graphs(cleaned.graph):
        _strip(graph)
        _drop_defaults(graph, versions)
        _drop_zero_points(graph)
    _drop_unread_weights(cleaned.graph)
    _drop_unused_domains(cleaned)
    _rename(cleaned.graph)
    return cleaned


def to_bytes(model: onnx.ModelProto) -> bytes:
    """The model as the bytes of a file, the same each time."""
    return bytes(model.SerializeToString(deterministic=True))


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and the graphs of the branches and loop bodies in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs(attribute.g)


def _strip(graph: onnx.GraphProto) -> None:
    for field in ("doc_string", "value_info", "quantization_annotation", "metadata_props"):
        graph.ClearField(field)
    graph.name = "g"
    for node in graph.node:
        for field in ("name", "doc_string", "metadata_props", "overload"):
            node.ClearField(field)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
    for described in (*graph.input, *graph.output, *graph.initializer):
        for field in ("doc_string", "metadata_props"):
            described.ClearField(field)


def _drop_defaults(graph: onnx.GraphProto, versions: Mapping[str, int]) -> None:
    """Drops attributes with the value that they have where they are not given."""
    for node in graph.node:
        if not onnx.defs.has(node.op_type, node.domain):
            continue
        known = onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain).attributes
        kept = [attribute for attribute in node.attribute if not _is_default(node.op_type, attribute, known)]
        del node.attribute[:]
        node.attribute.extend(kept)


def _is_default(op_type: str, attribute: onnx.AttributeProto, known: Mapping[str, Any]) -> bool:
    if attribute.name not in known:
        return False
    value = onnx.helper.get_attribute_value(attribute)
    if op_type in _SLIDING and attribute.name in _SLIDING_DEFAULTS:
        return set(value) == {_SLIDING_DEFAULTS[attribute.name]}
    default = known[attribute.name].default_value
    return default.type != onnx.AttributeProto.UNDEFINED and bool(value == onnx.helper.get_attribute_value(default))


def _drop_zero_points(graph: onnx.GraphProto) -> None:
    """Drops zero points of zero, for which they are the default, from weights of convolutions.

    Those of activations stay: whether they are zero depends on samples, and the structure must not. Those of other
    layers stay too: ONNX Runtime makes an integer operator of them only where they are given.
    """
    weights = {weight.name: weight for weight in graph.initializer}
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or readers.get(node.output[0]) != {"Conv"}:
            continue
        if len(node.input) == 3 and node.input[0] in weights:
            zero_point = weights.get(node.input[2])
            if zero_point is not None and not onnx.numpy_helper.to_array(zero_point).any():
                del node.input[2]


def _drop_unread_weights(graph: onnx.GraphProto) -> None:
    read = {name for inner in graphs(graph) for node in inner.node for name in node.input}
    read |= {output.name for inner in graphs(graph) for output in inner.output}
    kept = [weight for weight in graph.initializer if weight.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_unused_domains(model: onnx.ModelProto) -> None:
    used = {node.domain for inner in graphs(model.graph) for node in inner.node}
    used |= {node.domain for function in model.functions for node in function.node}
    kept = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _rename(graph: onnx.GraphProto) -> None:
    weights = {weight.name for weight in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in weights]
    names = {name: f"input_{index}" for index, name in enumerate(inputs)}
    for index, value in enumerate(graph.output):
        names.setdefault(value.name, f"output_{index}")
    # The empty name means "not given", and stays empty.
    names[""] = ""
    for inner in graphs(graph):
        for node in inner.node:
            for name in (*node.input, *node.output):
                names.setdefault(name, _base36(len(names)))
        for named in _named(inner):
            names.setdefault(named.name, _base36(len(names)))
    for inner in graphs(graph):
        for named in _named(inner):
            named.name = names[named.name]
        for node in inner.node:
            node.input[:] = [names[name] for name in node.input]
            node.output[:] = [names[name] for name in node.output]


def _named(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto | onnx.TensorProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.initializer


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        if number == 0:
            return digits
