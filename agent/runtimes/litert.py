"""TensorFlow Lite models by LiteRT (``ai-edge-litert``)."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from ai_edge_litert.interpreter import Interpreter

from agent.runtimes.interpreter import InterpreterRuntime


class LiteRt(InterpreterRuntime):
    """LiteRT, the successor of TensorFlow Lite."""

    name: ClassVar[str] = "litert"

    def version(self) -> str:
        """The version of ai-edge-litert."""
        return metadata.version("ai-edge-litert")

    def make_interpreter(self, path: Path, threads: int | None) -> Any:
        """LiteRT's interpreter."""
        return Interpreter(model_path=str(path), num_threads=threads)
