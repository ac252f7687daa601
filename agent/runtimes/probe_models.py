"""The one-operator models that tell whether a runtime works here: ``y = x + x`` for a free batch of four float32.

They are kept as bytes, so that a device needs neither onnx nor TensorFlow to probe its runtimes. The tests make both
again with the libraries of their formats, and compare.
"""

from __future__ import annotations

import base64

# A ModelProto, field by field: each length is the byte before the text or message that it measures.
_ONNX = (
    b"\x08\x08"  # ir_version = 8
    b":?"  # graph, 63 bytes
    b"\n\x0e\n\x01x\n\x01x\x12\x01y\x22\x03Add"  # node: inputs x, x; output y; operator Add
    b"\x12\x01g"  # name = g
    b"Z\x14\n\x01x\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01n\n\x02\x08\x04"  # input x: float, (n, 4)
    b"b\x14\n\x01y\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01n\n\x02\x08\x04"  # output y: float, (n, 4)
    b"B\x04\n\x00\x10\r"  # opset of the default domain = 13
)

# A flatbuffer of TensorFlow Lite's schema: one subgraph, tensors x and y of shape (1, 4), signature (-1, 4), one ADD.
# Packed by `flatbuffers` from the object API that comes with ai-edge-litert (`ai_edge_litert.schema_py_generated`).
_TFLITE = base64.b64decode(
    "GAAAAFRGTDMAAA4AGAAUABAADAAIAAQADgAAABQAAAAcAAAAIAAAABgBAAADAAAAAQAAAAQAAADw/v//AAAAAAAAAAABAAAAEAAAAAwAFAAQAAwA"
    "CAAEAAwAAAAQAAAAUAAAAFQAAABYAAAAAQAAABQAAAAAAA4AFAAAABAADAALAAQADgAAABAAAAAAAAALDAAAABAAAABQ////AQAAAAEAAAACAAAA"
    "AAAAAAAAAAABAAAAAQAAAAEAAAAAAAAAAgAAAEwAAAAEAAAA0P///wwAAAAUAAAAGAAAAAIAAAD/////BAAAAAEAAAB5AAAAAgAAAAEAAAAEAAAA"
    "FAAQAAwAAAAAAAgAAAAAAAAABAAUAAAADAAAABQAAAAYAAAAAgAAAP////8EAAAAAQAAAHgAAAACAAAAAQAAAAQAAAABAAAACAAAAAQABAAEAAAA"
)

PROBE_MODELS = {"onnx": _ONNX, "tflite": _TFLITE}
