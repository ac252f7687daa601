"""Export to ONNX through torch.export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipelines.errors import ExportError
from pipelines.export.artifact import Artifact
from pipelines.export.onnx_graph import clean, to_bytes
from pipelines.quiet import quietly

# What every runtime that a device is likely to have can load, and what the exporter makes without converting.
OPSET = 18


def export_onnx(module: nn.Module, example_inputs: tuple[Tensor, ...]) -> Artifact:
    """The model as one ONNX file with the batch size of the example inputs, weights inside.

    The same model gives the same bytes. Batch normalization is folded into the convolution before it.

    Raises:
        ExportError: The model cannot be exported; the message has the exporter's own first line.
    """
    module.eval()
    with quietly():
        try:
            program = torch.export.export(module, example_inputs, strict=False)
            exported = torch.onnx.export(
                program, dynamo=True, external_data=False, opset_version=OPSET, optimize=True, verbose=False
            )
        except Exception as error:
            first_line = str(error).strip().partition("\n")[0]
            message = f"the model cannot be exported to ONNX: {first_line}"
            raise ExportError(message, hint="the model's forward must be one that torch.export can trace") from error
    if exported is None:
        raise ExportError("the exporter returned no ONNX program")
    return Artifact(content=to_bytes(clean(exported.model_proto)), format="onnx")
