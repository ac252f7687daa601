"""int8 TFLite files through ai-edge-quantizer: functions on the bytes of a model."""

from __future__ import annotations

import importlib.util
from typing import Any

from numpy.typing import NDArray

from pipelines.errors import FormatUnavailableError
from pipelines.quiet import quietly

# One inference's inputs.
Sample = tuple[NDArray[Any], ...]


def quantize_static(content: bytes, samples: list[Sample], *, per_channel: bool) -> bytes:
    """The model with weights and activations in int8, inputs and outputs in floating point as they were.

    Args:
        content: A float model.
        samples: What the ranges of activations are taken from, as minima and maxima.
        per_channel: A scale for each output channel of a weight, not one for all.

    Raises:
        FormatUnavailableError: The quantizer is not installed.
    """
    with quietly():
        qtyping, quantizer = _quantizer(content)
        quantizer.add_static_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            activation_num_bits=8,
            weight_num_bits=8,
            weight_granularity=_granularity(qtyping, per_channel),
        )
        for boundary in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
            quantizer.update_quantization_recipe(regex=".*", operation_name=boundary, algorithm_key="no_quantize")
        ranges = quantizer.calibrate(_calibration(content, samples), num_threads=1)
        return bytes(quantizer.quantize(ranges).quantized_model)


def quantize_dynamic(content: bytes, *, per_channel: bool) -> bytes:
    """The model with weights in int8; activations are quantized as they come.

    Args:
        content: A float model.
        per_channel: A scale for each output channel of a weight, not one for all.

    Raises:
        FormatUnavailableError: The quantizer is not installed.
    """
    with quietly():
        qtyping, quantizer = _quantizer(content)
        quantizer.add_dynamic_config(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            num_bits=8,
            granularity=_granularity(qtyping, per_channel),
        )
        return bytes(quantizer.quantize().quantized_model)


def _quantizer(content: bytes) -> tuple[Any, Any]:
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        raise FormatUnavailableError(
            "TFLite files cannot be quantized here: ai-edge-quantizer is not installed",
            hint="pip install 'fleetfit[litert-convert]', or export to onnx",
        )
    from ai_edge_quantizer import qtyping, quantizer  # noqa: PLC0415 - an extra that may be absent

    return qtyping, quantizer.Quantizer(bytearray(content))


def _granularity(qtyping: Any, per_channel: bool) -> Any:
    return qtyping.QuantGranularity.CHANNELWISE if per_channel else qtyping.QuantGranularity.TENSORWISE


def _calibration(content: bytes, samples: list[Sample]) -> dict[str, list[dict[str, Any]]]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - comes with the quantizer

    signatures = Interpreter(model_content=content).get_signature_list()
    key, signature = next(iter(signatures.items()))
    return {key: [dict(zip(signature["inputs"], sample, strict=True)) for sample in samples]}
