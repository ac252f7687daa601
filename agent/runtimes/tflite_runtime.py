"""TensorFlow Lite models by tflite-runtime: the only wheel for 32-bit ARM. It needs numpy 1."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from tflite_runtime.interpreter import Interpreter

from agent.runtimes.interpreter import InterpreterRuntime


class TfliteRuntime(InterpreterRuntime):
    """tflite-runtime, whose last release is of 2023."""

    name: ClassVar[str] = "tflite-runtime"

    def version(self) -> str:
        """The version of tflite-runtime."""
        return metadata.version("tflite-runtime")

    def make_interpreter(self, path: Path, threads: int | None) -> Any:
        """tflite-runtime's interpreter."""
        return Interpreter(model_path=str(path), num_threads=threads)
