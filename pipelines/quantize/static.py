"""Static int8: weights and activations in eight bits, their ranges found on training samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.passes import Pass, Stage
from pipelines.tolerance import INT8_TOLERANCE

if TYPE_CHECKING:
    from pipelines.context import Context

# A draft's ranges are thrown away: enough samples that none is empty.
DRAFT_CALIBRATION_SAMPLES = 8


class QuantizeInt8(Pass):
    """Weights and activations as int8, after training, without retraining.

    On x86 processors without VNNI instructions, a sum of two int8 products overflows sixteen bits: the same file then
    gives other, worse results there. ``reduce_range`` gives up one bit of the weights and is safe everywhere. ``auto``
    does so where this machine, on which accuracy is evaluated, lacks the instructions.

    Source: Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    2018. We differ in that ranges are plain minima and maxima, and the outputs stay floating point.
    """

    name: ClassVar[str] = "int8"
    stage: ClassVar[Stage] = Stage.PRECISION
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False
    tolerance: ClassVar[float] = INT8_TOLERANCE

    calibration_samples: Annotated[int, Field(ge=1, le=100_000)] = 200
    per_channel: bool = True
    # Both ONNX only: TFLite has one way to do it.
    activations: Literal["uint8", "int8"] = "uint8"
    reduce_range: Literal["auto", True, False] = "auto"

    @property
    def title(self) -> str:
        """``int8``."""
        return self.name

    def objection(self, export_format: str) -> str:
        """TFLite knows neither ``activations`` nor ``reduce_range``."""
        if export_format == "tflite" and self.activations != "uint8":
            return "int8: 'activations' is for ONNX; TFLite's activations are always int8, leave it out"
        if export_format == "tflite" and self.reduce_range != "auto":
            return "int8: 'reduce_range' is for ONNX; TFLite's kernels do not overflow, leave it out"
        return super().objection(export_format)

    def apply(self, context: Context) -> None:
        """Finds the ranges on training samples and rewrites the artifact."""
        samples = context.calibration_samples(self.calibration_samples if context.train else DRAFT_CALIBRATION_SAMPLES)
        artifact = context.exported()
        if artifact.format == "onnx":
            from pipelines.quantize import onnx_int8  # noqa: PLC0415 - recipes are read without ONNX

            reduced = onnx_int8.range_is_reduced(self.reduce_range, context.remark)
            content = onnx_int8.quantize_static(
                artifact.content,
                samples,
                per_channel=self.per_channel,
                signed_activations=self.activations == "int8",
                reduce_range=reduced,
            )
        else:
            from pipelines.quantize import tflite_int8  # noqa: PLC0415 - recipes are read without LiteRT

            content = tflite_int8.quantize_static(artifact.content, samples, per_channel=self.per_channel)
        context.rewrite(content)
