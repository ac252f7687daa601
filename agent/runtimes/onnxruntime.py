"""ONNX models by onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from agent.runtimes.errors import RuntimeUnavailableError, UnsupportedModelError
from agent.runtimes.runtime import Model, Runtime, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEFAULT_PROVIDER = "CPUExecutionProvider"
_LOG_FATAL_ONLY = 4

_DTYPES = {
    "tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool",
    "tensor(int8)": "int8", "tensor(int16)": "int16", "tensor(int32)": "int32", "tensor(int64)": "int64",
    "tensor(uint8)": "uint8", "tensor(uint16)": "uint16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64",
}  # fmt: skip

# The library's exceptions share no base class below Exception.
_REFUSALS = (
    native.Fail, native.InvalidArgument, native.NoSuchFile, native.NoModel, native.EngineError,
    native.RuntimeException, native.InvalidProtobuf, native.NotImplemented, native.InvalidGraph, native.EPFail,
    ValueError, RuntimeError,
)  # fmt: skip
_NO_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")


class OnnxRuntime(Runtime):
    """onnxruntime, on the processor unless a provider is named."""

    name: ClassVar[str] = "onnxruntime"
    formats: ClassVar[tuple[str, ...]] = ("onnx",)

    def version(self) -> str:
        """The version of onnxruntime."""
        return str(onnxruntime.__version__)

    def providers(self) -> tuple[str, ...]:
        """The execution providers that this build lists, the processor first."""
        listed = [str(provider) for provider in onnxruntime.get_available_providers()]
        return tuple(sorted(listed, key=lambda provider: provider != _DEFAULT_PROVIDER))

    def load(self, path: Path, *, threads: int, provider: str = "") -> Model:
        """The model in a session of its own; see `Runtime.load`."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_FATAL_ONLY
        if provider and provider != _DEFAULT_PROVIDER:
            # Otherwise operators that the provider lacks would run on the processor, and nobody would know.
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        chosen = provider or _DEFAULT_PROVIDER
        if chosen not in onnxruntime.get_available_providers():
            raise RuntimeUnavailableError(f"this build of onnxruntime has no {chosen}")
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=[chosen])
        except _REFUSALS as error:
            raise _converted(error, "cannot load the model") from error
        return OnnxModel(session)


class OnnxModel(Model):
    """A session with its inputs and outputs bound to buffers that it keeps."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._inputs = tuple(_spec(node) for node in session.get_inputs())
        self._outputs = tuple(_spec(node) for node in session.get_outputs())
        input_dimensions = {dimension for node in session.get_inputs() for dimension in node.shape}
        # Whatever the values of the inputs decide cannot keep the buffer of the run before.
        self._unsized_outputs = tuple(
            node.name
            for node in session.get_outputs()
            if any(not isinstance(size, int) and size not in input_dimensions for size in node.shape)
        )
        self._binding = session.io_binding()
        # None until inputs are bound; a model may have none.
        self._buffers: list[NDArray[Any]] | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that must be fed."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """All outputs."""
        return self._outputs

    @property
    def provider(self) -> str:
        """The session's first provider."""
        return str(self._session.get_providers()[0])

    def bind(self, feeds: Sequence[NDArray[Any]]) -> None:
        """Copies into the bound buffers, and binds new ones when shapes change; see `Model.bind`."""
        if self._buffers is not None and _layouts(self._buffers) == _layouts(feeds):
            for kept, feed in zip(self._buffers, feeds, strict=True):
                numpy.copyto(kept, feed)
            for name in self._unsized_outputs:
                self._binding.bind_output(name)
            return
        if len(feeds) != len(self._inputs):
            raise UnsupportedModelError(f"the model takes {len(self._inputs)} inputs, not {len(feeds)}")
        self._buffers = [numpy.array(feed, order="C", copy=True) for feed in feeds]
        self._binding = self._session.io_binding()
        try:
            for spec, buffer in zip(self._inputs, self._buffers, strict=True):
                self._binding.bind_cpu_input(spec.name, buffer)
            for spec in self._outputs:
                # Without a buffer of ours: the first run makes it, and the runs after it reuse it.
                self._binding.bind_output(spec.name)
        except _REFUSALS as error:
            raise _converted(error, "cannot bind the inputs") from error

    def run(self) -> None:
        """One inference on the bound buffers."""
        try:
            self._session.run_with_iobinding(self._binding)
        except _REFUSALS as error:
            raise _converted(error, "cannot run the model") from error

    def fetch(self) -> list[NDArray[Any]]:
        """Copies of the outputs of the last run."""
        return [numpy.array(output) for output in self._binding.copy_outputs_to_cpu()]


def _layouts(arrays: Sequence[NDArray[Any]]) -> list[tuple[Any, ...]]:
    return [(array.shape, array.dtype) for array in arrays]


def _spec(node: Any) -> TensorSpec:
    dtype = _DTYPES.get(node.type)
    if dtype is None:
        raise UnsupportedModelError(f"'{node.name}' is of type {node.type}, which cannot be measured")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return TensorSpec(name=node.name, dtype=dtype, shape=shape)


def _converted(error: Exception, what: str) -> Exception:
    text = str(error).strip()
    if any(sign in text for sign in _NO_MEMORY):
        return MemoryError(f"onnxruntime {what}: not enough memory")
    first_line = text.splitlines()[0] if text else type(error).__name__
    return UnsupportedModelError(f"onnxruntime {what}: {first_line.removeprefix('[ONNXRuntimeError] : ')}")
