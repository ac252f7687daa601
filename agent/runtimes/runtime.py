"""What a runtime is: it loads an artifact and runs it. Each implementation is a sibling of this file.

Nothing here imports numpy or a runtime, so that the agent itself may know these types.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from agent.runtimes.probe_models import PROBE_MODELS

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFacts:
    """A runtime that has run a probe model on this device."""

    name: str
    version: str
    formats: tuple[str, ...]
    providers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output of a model. ``dtype`` is numpy's name; a dimension that is free is None."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Model(ABC):
    """A loaded model: bind inputs, run, fetch outputs. One thread at a time."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the order in which ``bind`` takes them."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the order in which ``fetch`` returns them."""

    @property
    @abstractmethod
    def provider(self) -> str:
        """The execution provider that runs the model."""

    @abstractmethod
    def bind(self, feeds: Sequence[NDArray[Any]]) -> None:
        """Copies one array per input into the model's own buffers, which are made anew only when a shape changes.

        Raises:
            UnsupportedModelError: The model cannot take these shapes or types.
        """

    @abstractmethod
    def run(self) -> None:
        """Runs one inference on what is bound: the timed path. After the first run it allocates nothing in Python.

        Raises:
            UnsupportedModelError: The model fails when it is run.
            MemoryError: There is not enough memory.
        """

    @abstractmethod
    def fetch(self) -> list[NDArray[Any]]:
        """Copies of the outputs of the last run."""


class Runtime(ABC):
    """Loads models of some formats. It runs inside the worker, where it may use threads but start no process."""

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]

    @abstractmethod
    def version(self) -> str:
        """The version of the library underneath."""

    @abstractmethod
    def providers(self) -> tuple[str, ...]:
        """What the library says that it could run on, the default first. Only a probe tells what works."""

    @abstractmethod
    def load(self, path: Path, *, threads: int, provider: str = "") -> Model:
        """The model, ready to bind.

        Args:
            path: The artifact.
            threads: Threads within one operator; 0 leaves it to the library.
            provider: One of ``providers()`` that must run every operator; empty for the default.

        Raises:
            UnsupportedModelError: The file is no model, or has an operator that the runtime or provider lacks.
            RuntimeUnavailableError: The library turns out not to work here.
            MemoryError: There is not enough memory.
        """

    def probe_model(self) -> bytes:
        """A model that adds its ``(1, 4)`` float32 input to itself, in the first of the runtime's formats."""
        return PROBE_MODELS[self.formats[0]]
