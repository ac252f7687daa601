"""Dynamic int8: weights in eight bits, activations quantized on the device as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pipelines.passes import Pass, Stage
from pipelines.tolerance import INT8_TOLERANCE

if TYPE_CHECKING:
    from pipelines.context import Context


class QuantizeInt8Dynamic(Pass):
    """Weights as int8; the range of each activation is found anew at each inference.

    It needs no calibration and is kinder to accuracy than static int8, and pays for it with work on the device.
    ``reduce_range`` is as for static int8.

    Source: Krishnamoorthi: Quantizing deep convolutional networks for efficient inference, 2018.
    """

    name: ClassVar[str] = "int8_dynamic"
    stage: ClassVar[Stage] = Stage.PRECISION
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False
    tolerance: ClassVar[float] = INT8_TOLERANCE

    per_channel: bool = True
    # ONNX only.
    reduce_range: Literal["auto", True, False] = "auto"

    @property
    def title(self) -> str:
        """``int8_dynamic``."""
        return self.name

    def objection(self, export_format: str) -> str:
        """TFLite does not know ``reduce_range``."""
        if export_format == "tflite" and self.reduce_range != "auto":
            return "int8_dynamic: 'reduce_range' is for ONNX; TFLite's kernels do not overflow, leave it out"
        return super().objection(export_format)

    def apply(self, context: Context) -> None:
        """Rewrites the artifact."""
        artifact = context.exported()
        if artifact.format == "onnx":
            from pipelines.quantize import onnx_int8  # noqa: PLC0415 - recipes are read without ONNX

            reduced = onnx_int8.range_is_reduced(self.reduce_range, context.remark)
            content = onnx_int8.quantize_dynamic(artifact.content, per_channel=self.per_channel, reduce_range=reduced)
        else:
            from pipelines.quantize import tflite_int8  # noqa: PLC0415 - recipes are read without LiteRT

            content = tflite_int8.quantize_dynamic(artifact.content, per_channel=self.per_channel)
        context.rewrite(content)
