"""Low-rank factorisation: a layer becomes two thinner ones, where that saves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self

from pipelines.errors import NothingChangedError
from pipelines.passes import Pass, Stage

if TYPE_CHECKING:
    from pipelines.context import Context


class LowRank(Pass):
    """Replaces layers by two layers of lower rank, then retrains.

    Linear layers and 1x1 convolutions are cut by the singular value decomposition of their matrix; k x k convolutions
    by that of their vertical against their horizontal part, which makes a k x 1 and a 1 x k convolution. A layer whose
    two parts would hold no fewer weights is left alone, and the report says so. How far is said as a share of the rank,
    or of the energy (the sum of squares) of the weights: layers whose weights are redundant then lose more.

    Source: Eckart, Young: The approximation of one matrix by another of lower rank, 1936; Jaderberg, Vedaldi,
    Zisserman: Speeding up Convolutional Neural Networks with Low Rank Expansions, 2014 (spatial). We differ in that a
    layer is factored only where it saves weights.
    """

    name: ClassVar[str] = "low_rank"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    needs_training: ClassVar[bool] = True
    changes_structure: ClassVar[bool] = True

    # Rank that is kept, as a share of each layer's full rank.
    rank: Annotated[float, Field(gt=0, lt=1)] | None = None
    # Or: share of the energy of each layer's weights that is kept, whatever rank that takes.
    energy: Annotated[float, Field(gt=0, lt=1)] | None = None
    # A rank is the number of channels between the two layers, and rounded as those are.
    round_to: Annotated[int, Field(ge=1, le=64)] = 4
    # Epochs of retraining; None: the workload's own number for fine-tuning.
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        if (self.rank is None) == (self.energy is None):
            raise ValueError("give one of rank and energy")
        return self

    @property
    def title(self) -> str:
        """``low_rank 0.5``, or ``low_rank energy 0.9``."""
        return f"{self.name} {self.rank:g}" if self.rank is not None else f"{self.name} energy {self.energy:g}"

    def apply(self, context: Context) -> None:
        """Factors every layer where it saves, and asks for retraining."""
        from pipelines.low_rank import layers  # noqa: PLC0415 - recipes are read without PyTorch

        factored, left_alone = layers.factor_layers(
            context.network,
            context.example_inputs,
            round_to=self.round_to,
            rank_fraction=self.rank,
            energy=self.energy,
        )
        for layer, reason in left_alone.items():
            context.remark(f"{layer} left alone: {reason}")
        if factored is context.network:
            raise NothingChangedError(
                f"{self.title}: no layer would get smaller", hint="ask for less of it, or leave the pass out"
            )
        context.restructure(factored)
        context.ask_for_training(epochs=self.epochs)
