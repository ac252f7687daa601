"""The runtimes of this machine: an artifact is opened and run as a device would, on one thread."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipelines.errors import ExportError, FormatUnavailableError
from pipelines.export.artifact import Artifact


class ArtifactSession(Protocol):
    """An artifact that is ready to run."""

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The outputs for one set of inputs, each with the batch dimension that the artifact was made with."""


def open_artifact(artifact: Artifact) -> ArtifactSession:
    """The artifact, loaded by the runtime of its format.

    Raises:
        FormatUnavailableError: That runtime is not installed.
        ExportError: The runtime refuses the file.
    """
    return OnnxSession(artifact.content) if artifact.format == "onnx" else TfliteSession(artifact.content)


class OnnxSession:
    """An ONNX file in ONNX Runtime, on the processor.

    Raises:
        ExportError: The runtime refuses the file.
    """

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ExportError(f"ONNX Runtime refuses the artifact: {str(error).strip()}") from error
        self._names = [node.name for node in self._session.get_inputs()]

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The outputs for one set of inputs."""
        return tuple(self._session.run(None, dict(zip(self._names, inputs, strict=True))))


class TfliteSession:
    """A TFLite file in LiteRT, on the processor.

    Raises:
        FormatUnavailableError: LiteRT is not installed.
        ExportError: The runtime refuses the file.
    """

    def __init__(self, content: bytes) -> None:
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise FormatUnavailableError("TFLite files cannot be run here", hint="pip install 'fleetfit[litert]'")
        from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - an extra that may be absent

        try:
            self._interpreter = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ExportError(f"LiteRT refuses the artifact: {error}") from error
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def run(self, inputs: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The outputs for one set of inputs."""
        for details, array in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(details["index"], np.ascontiguousarray(array, dtype=details["dtype"]))
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(details["index"]) for details in self._outputs)
