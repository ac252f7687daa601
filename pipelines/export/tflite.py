"""Export to TFLite through litert-torch, where that extra is installed."""

from __future__ import annotations

import importlib.util

from torch import Tensor, nn

from pipelines.errors import ExportError, FormatUnavailableError
from pipelines.export.artifact import Artifact
from pipelines.quiet import quietly


def export_tflite(module: nn.Module, example_inputs: tuple[Tensor, ...]) -> Artifact:
    """The model as one TFLite file with the batch size of the example inputs. The same model gives the same bytes.

    Raises:
        FormatUnavailableError: The converter is not installed.
        ExportError: The model cannot be converted; the message has the converter's own first line.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise FormatUnavailableError(
            "TFLite files cannot be made here: litert-torch is not installed",
            hint="pip install 'fleetfit[litert-convert]', or export to onnx",
        )
    module.eval()
    with quietly():
        import litert_torch  # noqa: PLC0415 - an extra that may be absent, and takes seconds to import

        try:
            converted = litert_torch.convert(module, example_inputs)
            content = bytes(converted.model_content())
        except Exception as error:
            first_line = str(error).strip().partition("\n")[0]
            message = f"the model cannot be exported to TFLite: {first_line}"
            raise ExportError(message, hint="the model's forward must be one that torch.export can trace") from error
    return Artifact(content=content, format="tflite")
