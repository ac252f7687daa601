"""Weight-only quantization: weights stored as integers, everything computed in floating point."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pipelines.passes import Pass, Stage
from pipelines.quantize.widening import WIDENED

if TYPE_CHECKING:
    from pipelines.context import Context


class Int8Weights(Pass):
    """Stores weights as int8 with a scale for each output channel; activations stay floating point.

    A quarter of the bytes, without calibration and without the overflows of int8 arithmetic: the same outputs on every
    processor. The runtime widens the weights once, when it loads the file.

    Source: Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference,
    2018. We differ in that only what is stored is quantized, and that the end of the range is the one with the least
    squared error.
    """

    name: ClassVar[str] = "int8_weights"
    stage: ClassVar[Stage] = Stage.PRECISION
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("onnx",)

    @property
    def title(self) -> str:
        """``int8_weights``."""
        return self.name

    def apply(self, context: Context) -> None:
        """Rewrites the artifact."""
        from pipelines.quantize import onnx_weights  # noqa: PLC0415 - recipes are read without ONNX

        context.rewrite(onnx_weights.store_integers(context.exported().content, bits=8, block=None))
        context.remark(WIDENED)


class Int4Weights(Pass):
    """Stores weights as int4 with a scale for each block of neighbours; activations stay floating point.

    An eighth of the bytes and the scales. The file needs a runtime that reads opset 21, and with it four-bit tensors.

    Source: Dettmers, Zettlemoyer: The case for 4-bit precision: k-bit Inference Scaling Laws, 2023 (blocks). We differ
    in that the values are evenly spaced, and that the end of each range is the one with the least squared error.
    """

    name: ClassVar[str] = "int4_weights"
    stage: ClassVar[Stage] = Stage.PRECISION
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("onnx",)

    # Neighbouring weights that share a scale, at most: an output channel is divided evenly, or is one block.
    block: Annotated[int, Field(ge=8, le=1024)] = 32

    @property
    def title(self) -> str:
        """``int4_weights``."""
        return self.name

    def apply(self, context: Context) -> None:
        """Rewrites the artifact."""
        from pipelines.quantize import onnx_weights  # noqa: PLC0415 - recipes are read without ONNX

        context.rewrite(onnx_weights.store_integers(context.exported().content, bits=4, block=self.block))
        context.remark(WIDENED)
