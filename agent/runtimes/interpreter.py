"""What LiteRT and tflite-runtime have in common: models that an ``Interpreter`` runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy

from agent.runtimes.errors import RuntimeUnavailableError, UnsupportedModelError
from agent.runtimes.runtime import Model, Runtime, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROVIDER = "CPU"


class InterpreterRuntime(Runtime):
    """Loads TensorFlow Lite models on the processor; the library's own defaults decide about XNNPACK."""

    formats: ClassVar[tuple[str, ...]] = ("tflite",)

    @abstractmethod
    def make_interpreter(self, path: Path, threads: int | None) -> Any:
        """The library's interpreter for the model at ``path``."""

    def providers(self) -> tuple[str, ...]:
        """The processor."""
        return (_PROVIDER,)

    def load(self, path: Path, *, threads: int, provider: str = "") -> Model:
        """The model with its tensors allocated; see `Runtime.load`."""
        if provider not in ("", _PROVIDER):
            raise RuntimeUnavailableError(f"{self.name} has no provider {provider}")
        try:
            interpreter = self.make_interpreter(path, threads or None)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _converted(error, self.name, "cannot load the model") from error
        except (ImportError, AttributeError, SystemError) as error:
            # Built against another numpy: the import succeeds, and the first interpreter does not.
            reason = _first_line(error.__cause__ or error)
            raise RuntimeUnavailableError(
                f"{self.name} {self.version()} does not work with numpy {numpy.__version__}: {reason}"
            ) from error
        return InterpreterModel(interpreter, self.name)


class InterpreterModel(Model):
    """An interpreter; its input and output tensors are the buffers."""

    def __init__(self, interpreter: Any, runtime_name: str) -> None:
        self._interpreter = interpreter
        self._runtime_name = runtime_name
        self._input_details = interpreter.get_input_details()
        self._output_details = interpreter.get_output_details()
        self._shapes = [tuple(int(size) for size in details["shape"]) for details in self._input_details]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, in the interpreter's order."""
        return tuple(_spec(details) for details in self._input_details)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs, in the interpreter's order."""
        return tuple(_spec(details) for details in self._output_details)

    @property
    def provider(self) -> str:
        """The processor."""
        return _PROVIDER

    def bind(self, feeds: Sequence[NDArray[Any]]) -> None:
        """Copies into the input tensors, resized when shapes change; see `Model.bind`."""
        if len(feeds) != len(self._input_details):
            raise UnsupportedModelError(f"the model takes {len(self._input_details)} inputs, not {len(feeds)}")
        try:
            if [feed.shape for feed in feeds] != self._shapes:
                for details, feed in zip(self._input_details, feeds, strict=True):
                    self._interpreter.resize_tensor_input(details["index"], feed.shape)
                self._interpreter.allocate_tensors()
                self._shapes = [feed.shape for feed in feeds]
            for details, feed in zip(self._input_details, feeds, strict=True):
                self._interpreter.set_tensor(details["index"], feed)
        except (ValueError, RuntimeError) as error:
            raise _converted(error, self._runtime_name, "cannot bind the inputs") from error

    def run(self) -> None:
        """One inference on the input tensors."""
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise _converted(error, self._runtime_name, "cannot run the model") from error

    def fetch(self) -> list[NDArray[Any]]:
        """Copies of the output tensors."""
        return [numpy.array(self._interpreter.get_tensor(details["index"])) for details in self._output_details]


def _spec(details: dict[str, Any]) -> TensorSpec:
    signature = details.get("shape_signature")
    shape = signature if signature is not None and len(signature) == len(details["shape"]) else details["shape"]
    return TensorSpec(
        name=details["name"],
        dtype=numpy.dtype(details["dtype"]).name,
        shape=tuple(int(size) if size >= 0 else None for size in shape),
    )


def _converted(error: Exception, runtime_name: str, what: str) -> Exception:
    text = _first_line(error)
    if "memory" in text.lower() and "alloc" in text.lower():
        return MemoryError(f"{runtime_name} {what}: not enough memory")
    return UnsupportedModelError(f"{runtime_name} {what}: {text}")


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0].strip() if text else type(error).__name__
