"""Magnitude pruning: single weights become zero, and the file takes fewer bytes on its way to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from pipelines.errors import NothingChangedError
from pipelines.passes import Pass, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from pipelines.context import Context


class MagnitudePrune(Pass):
    """Sets the weights of the smallest magnitude to zero, then retrains with these held at zero.

    Which ones is said in one of three ways: an ``amount`` of them, those below a ``threshold``, or all but N of each M
    neighbours (``pattern``). The file has as many bytes as before when it is loaded, and fewer when it is delivered,
    since zeros compress; a variant tells both. Passes that follow keep the zeros.

    Source: Han, Pool, Tran, Dally: Learning both Weights and Connections for Efficient Neural Networks, 2015; Zhu,
    Gupta: To prune, or not to prune, 2017 (gradual schedule); Mishra et al.: Accelerating Sparse Deep Neural Networks,
    2021 (N:M). We differ in that every layer keeps at least one weight.
    """

    name: ClassVar[str] = "magnitude_prune"
    stage: ClassVar[Stage] = Stage.SPARSITY
    needs_training: ClassVar[bool] = True
    changes_structure: ClassVar[bool] = False

    # Share of the weights that becomes zero.
    amount: Annotated[float, Field(gt=0, lt=1)] | None = None
    # Weights of a smaller magnitude become zero.
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    # N:M: how many stay of each run of M weights along the input channels.
    pattern: Annotated[str, Field(pattern=r"^[1-9]\d?:[1-9]\d?$")] | None = None
    # Whether an amount holds for each layer, or for all together. For an amount only.
    scope: Literal["local", "global"] = "local"
    # Whether an amount is reached at once, or along a cubic curve while training. For an amount only.
    schedule: Literal["once", "gradual"] = "once"
    # Epochs of retraining; None: the workload's own number for fine-tuning.
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _one_way_to_choose(self) -> Self:
        given = [key for key in ("amount", "threshold", "pattern") if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of amount, threshold and pattern, not {' and '.join(given) or 'none'}")
        if self.pattern is not None and self._kept_of[0] >= self._kept_of[1]:
            raise ValueError(f"pattern '{self.pattern}' leaves every weight; N of N:M must be below M")
        for key in ("scope", "schedule"):
            if self.amount is None and key in self.model_fields_set and getattr(self, key) in ("global", "gradual"):
                raise ValueError(f"{key} '{getattr(self, key)}' goes with an amount, not with a {given[0]}")
        return self

    @property
    def title(self) -> str:
        """``magnitude_prune 0.7``, ``magnitude_prune <0.01``, ``magnitude_prune 2:4``."""
        if self.amount is not None:
            return f"{self.name} {self.amount:g}"
        return f"{self.name} {self.pattern}" if self.pattern is not None else f"{self.name} <{self.threshold:g}"

    def apply(self, context: Context) -> None:
        """Sets the weights to zero, or asks training to do so step by step, and asks for retraining."""
        from pipelines.prune import sparsity  # noqa: PLC0415 - recipes are read without PyTorch

        module = context.network.module
        weights = {name: weight.detach() for name, weight in sparsity.prunable_weights(module).items()}
        masks = self._masks(weights, self.amount)
        if self.pattern is not None:
            for name in weights.keys() - masks.keys():
                context.remark(f"{name} left alone: its input channels do not divide by {self._kept_of[1]}")
        pruned = {name: weights[name] * mask for name, mask in masks.items()}
        zeros = sparsity.zero_count(pruned)
        if zeros == sparsity.zero_count({name: weights[name] for name in masks}):
            raise NothingChangedError(
                f"{self.title}: no weight would become zero", hint="ask for more, or leave it out"
            )
        total = sum(weight.numel() for weight in weights.values())
        context.remark(f"{zeros:,} of {total:,} weights are zero after it")
        if self.amount is not None and self.schedule == "gradual" and context.train:
            context.constraint = sparsity.GradualMasks(self.amount, self._masks)
        else:
            sparsity.set_zeros(module, masks)
            context.constraint = sparsity.HeldMasks(masks)
            context.reestimate()
        context.ask_for_training(epochs=self.epochs)

    def _masks(self, weights: Mapping[str, Tensor], amount: float | None) -> Mapping[str, Tensor]:
        from pipelines.prune import masks  # noqa: PLC0415 - recipes are read without PyTorch

        if not weights:
            return {}
        if amount is not None:
            return (masks.global_masks if self.scope == "global" else masks.local_masks)(weights, amount)
        if self.threshold is not None:
            return masks.threshold_masks(weights, self.threshold)
        found = {name: masks.pattern_mask(weight, *self._kept_of) for name, weight in weights.items()}
        return {name: mask for name, mask in found.items() if mask is not None}

    @property
    def _kept_of(self) -> tuple[int, int]:
        kept, _, of = (self.pattern or "1:1").partition(":")
        return int(kept), int(of)
