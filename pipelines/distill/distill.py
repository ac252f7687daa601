"""Knowledge distillation into a narrower student of the user's own model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipelines.passes import Pass, Stage

if TYPE_CHECKING:
    from pipelines.context import Context


class Distill(Pass):
    """Makes a student with a share of the model's channels and trains it to answer as the baseline does.

    The student is the workload's own model, every layer scaled to ``width`` of its channels through the same
    dependencies that pruning uses. It starts from the weights of the strongest channels, or from new ones.

    Source: Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015. The loss is
    α·T²·KL(softmax(teacher/T) ‖ softmax(student/T)) + (1-α)·task loss. We differ in that the student may inherit
    weights.
    """

    name: ClassVar[str] = "distill"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    needs_training: ClassVar[bool] = True
    changes_structure: ClassVar[bool] = True

    # Share of each layer's channels that the student keeps.
    width: Annotated[float, Field(gt=0, lt=1)]
    # T: how much of the teacher's doubt is shown to the student.
    temperature: Annotated[float, Field(ge=1, le=100)] = 4.0
    # α: weight of the teacher's answer against the true one.
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.7
    weights: Literal["inherit", "reset"] = "inherit"
    round_to: Annotated[int, Field(ge=1, le=64)] = 4
    # None: the workload's number for fine-tuning where weights are inherited, its number for training where not.
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @property
    def title(self) -> str:
        """``distill 0.5``."""
        return f"{self.name} {self.width:g}"

    def apply(self, context: Context) -> None:
        """Makes the student, sets the loss, and asks for training."""
        from pipelines.distill import objective, student  # noqa: PLC0415 - recipes are read without PyTorch

        narrow = student.narrow_student(
            context.network, context.example_inputs, width=self.width, round_to=self.round_to, seed=context.seed
        )
        if self.weights == "reset":
            student.reset_weights(narrow.module, seed=context.seed)
        context.restructure(narrow)
        context.objective = objective.distillation(
            context.workload,
            context.teacher,
            context.example_inputs,
            temperature=self.temperature,
            alpha=self.alpha,
        )
        context.ask_for_training(epochs=self.epochs, from_scratch=self.weights == "reset")
