"""Weight sharing: the weights of a layer take few values, and the file holds which one each takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pipelines.passes import Pass, Stage
from pipelines.quantize.widening import WIDENED

if TYPE_CHECKING:
    from pipelines.context import Context


class WeightSharing(Pass):
    """Gives the weights of each layer the values of a small codebook, found by k-means.

    The file holds the codebook and a number for each weight: four bits up to 16 values, eight beyond. Values are not
    used equally often, zeros after pruning above all, so that an entropy coder makes less of it for delivery.

    Source: Han, Mao, Dally: Deep Compression: Compressing Deep Neural Networks with Pruning, Trained Quantization and
    Huffman Coding, 2016. We differ in that the values are not trained further, that zero is always one of them, and
    that xz takes the place of Huffman coding.
    """

    name: ClassVar[str] = "weight_sharing"
    stage: ClassVar[Stage] = Stage.PRECISION
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("onnx",)

    # Of a number: a codebook has two to the power of this many values.
    bits: Annotated[int, Field(ge=2, le=8)] = 4

    @property
    def title(self) -> str:
        """``weight_sharing 4``."""
        return f"{self.name} {self.bits}"

    def apply(self, context: Context) -> None:
        """Rewrites the artifact."""
        from pipelines.quantize import onnx_weights  # noqa: PLC0415 - recipes are read without ONNX

        context.rewrite(onnx_weights.store_shared(context.exported().content, bits=self.bits))
        context.remark(WIDENED)
