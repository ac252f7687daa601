"""int8 ONNX files: functions on the bytes of a model."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import onnx
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from pipelines.export.onnx_graph import clean, to_bytes
from pipelines.quiet import quietly

# One inference's inputs.
Sample = tuple[NDArray[Any], ...]


def quantize_static(
    content: bytes, samples: list[Sample], *, per_channel: bool, signed_activations: bool, reduce_range: bool
) -> bytes:
    """The model with weights and activations in int8, inputs and outputs as they were.

    Args:
        content: A float model.
        samples: What the ranges of activations are taken from, as minima and maxima.
        per_channel: A scale for each output channel of a weight, not one for all.
        signed_activations: int8 activations, not uint8.
        reduce_range: Weights in seven bits.
    """

    def quantize(source: Path, target: Path) -> None:
        quantization.quantize_static(
            source,
            target,
            _Reader(samples, content),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=quantization.QuantType.QInt8 if signed_activations else quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )

    return _through_files(content, quantize)


def quantize_dynamic(content: bytes, *, per_channel: bool, reduce_range: bool) -> bytes:
    """The model with weights in int8; activations are quantized as they come.

    Args:
        content: A float model.
        per_channel: A scale for each output channel of a weight, not one for all.
        reduce_range: Weights in seven bits.
    """

    def quantize(source: Path, target: Path) -> None:
        quantization.quantize_dynamic(
            source,
            target,
            per_channel=per_channel,
            reduce_range=reduce_range,
            weight_type=quantization.QuantType.QInt8,
        )

    return _through_files(content, quantize)


def range_is_reduced(choice: Literal["auto"] | bool, remark: Callable[[str], None]) -> bool:
    """Whether weights take seven bits: as chosen, or by what this processor can do, which is then remarked."""
    if choice != "auto":
        return bool(choice)
    reduced = overflows(platform.machine(), _processor_flags())
    if reduced:
        remark("weights in 7 bits: sums of int8 products overflow on this processor (reduce_range: auto)")
    return reduced


def overflows(machine: str, flags: set[str]) -> bool:
    """Whether int8 products are added up in sixteen bits on this processor: on x86 without VNNI instructions."""
    return machine in ("x86_64", "AMD64") and not flags & {"avx512_vnni", "avx_vnni"}


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, samples: list[Sample], content: bytes) -> None:
        names = [value.name for value in onnx.load_from_string(content).graph.input]
        self._feeds: Iterator[dict[str, Any]] = iter([dict(zip(names, sample, strict=True)) for sample in samples])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def _through_files(content: bytes, quantize: Callable[[Path, Path], None]) -> bytes:
    """What ``quantize`` makes of the content: the quantizer reads and writes files only."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    for index, node in enumerate(model.graph.node):
        node.name = f"n{index}"
    # It asks for shapes, which are here now, and for folded batch normalization, which the export did.
    add_pre_process_metadata(model)
    with tempfile.TemporaryDirectory(prefix="fleetfit-") as folder:
        source, target = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(to_bytes(model))
        with quietly():
            quantize(source, target)
        return to_bytes(clean(onnx.load(target)))


def _processor_flags() -> set[str]:
    """Names of the processor's instruction sets as Linux lists them; empty where it does not."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())
