"""Half precision: weights stored as float16."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pipelines.passes import Pass, Stage
from pipelines.quantize.widening import WIDENED

if TYPE_CHECKING:
    from pipelines.context import Context


class Float16(Pass):
    """Stores weights as float16: half of the bytes, hardly any accuracy lost.

    The runtime widens them to float32 once, when it loads the file: processors have float16 kernels for few operators,
    and would convert to and fro at each inference. Latency and memory are those of the float model.

    Source: Micikevicius et al.: Mixed Precision Training, 2018. We differ in that only what is stored is narrow.
    """

    name: ClassVar[str] = "fp16"
    stage: ClassVar[Stage] = Stage.PRECISION
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False
    formats: ClassVar[tuple[str, ...]] = ("onnx",)

    @property
    def title(self) -> str:
        """``fp16``."""
        return self.name

    def apply(self, context: Context) -> None:
        """Rewrites the artifact."""
        from pipelines.quantize import onnx_weights  # noqa: PLC0415 - recipes are read without ONNX

        context.rewrite(onnx_weights.store_half(context.exported().content))
        context.remark(WIDENED)
