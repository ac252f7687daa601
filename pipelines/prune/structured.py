"""Structured pruning: whole channels are removed, so that the file is really smaller and really faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.passes import Pass, Stage

if TYPE_CHECKING:
    from pipelines.context import Context


class StructuredPrune(Pass):
    """Removes the least important channels of every layer, then retrains.

    Channels that depend on each other (through shortcuts, concatenation, depthwise convolution) go together. What is
    left is rounded to a multiple of ``round_to``, because runtimes compute in groups of channels: a layer of 13
    channels takes the time of one of 16.

    Source: Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets, 2017 (ranking by norm); Fang,
    Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, 2023 (dependencies). We differ in that every group of
    layers loses the same share, so that the structure does not depend on the values of the weights.
    """

    name: ClassVar[str] = "structured_prune"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    needs_training: ClassVar[bool] = True
    changes_structure: ClassVar[bool] = True

    # Share of each layer's channels that goes.
    amount: Annotated[float, Field(gt=0, lt=1)]
    # Norm of a channel's weights by which it is ranked; random is the control.
    importance: Literal["l1", "l2", "random"] = "l2"
    round_to: Annotated[int, Field(ge=1, le=64)] = 4
    # Epochs of retraining; None: the workload's own number for fine-tuning.
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @property
    def title(self) -> str:
        """``structured_prune 0.5``."""
        return f"{self.name} {self.amount:g}"

    def apply(self, context: Context) -> None:
        """Removes the channels and asks for retraining."""
        from pipelines.prune import channels  # noqa: PLC0415 - recipes are read without PyTorch

        pruned = channels.remove_channels(
            context.network,
            context.example_inputs,
            amount=self.amount,
            importance=self.importance,
            round_to=self.round_to,
            seed=context.seed,
        )
        context.restructure(pruned)
        context.ask_for_training(epochs=self.epochs)
