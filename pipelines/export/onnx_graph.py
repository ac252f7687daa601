"""An ONNX graph without what no runtime needs: on a small network, names and traces are a tenth of the file."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

PRODUCER = "fleetfit"


def clean(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model that computes the same and says nothing else.

    Descriptions, traces, shapes of intermediate values, weights that nothing reads and names of nodes go. Inputs are
    ``input_0`` …, outputs ``output_0`` …; every other value has the shortest name that is free, in the order of use.
    """
    cleaned = onnx.ModelProto()
    cleaned.CopyFrom(model)
    cleaned.producer_name = PRODUCER
    for field in ("producer_version", "doc_string", "domain", "model_version", "metadata_props"):
        cleaned.ClearField(field)
    for graph in graphs(cleaned.graph):
        _strip(graph)
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
