"""How far the outputs computed on this device are from the reference outputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy
from numpy.typing import NDArray

from agent.profiling.inputs import Sample
from agent.profiling.measurement import Numerics
from agent.runtimes.runtime import Model


class NumericsError(Exception):
    """The outputs are not those of the reference; ``numerics`` is None where they cannot even be compared."""

    def __init__(self, message: str, numerics: Numerics | None = None) -> None:
        super().__init__(message)
        self.numerics = numerics


def compare_outputs(model: Model, samples: Iterable[Sample], *, tolerance_fraction: float) -> Numerics:
    """The largest difference over all samples and outputs, absolute, and relative to the output's largest magnitude.

    Raises:
        NumericsError: A difference is larger than ``tolerance_fraction`` of the largest magnitude of that reference
            output, is no number, or the outputs are of another number or shape.
        InferenceError: The model fails when it is run.
    """
    samples = list(samples)
    magnitudes = [
        max(float(numpy.max(numpy.abs(_as_float(output)), initial=0.0)) for output in outputs)
        for outputs in zip(*(sample.outputs for sample in samples), strict=True)
    ]
    largest = [0.0] * len(magnitudes)
    for sample in samples:
        model.bind(sample.inputs)
        model.run()
        computed = model.fetch()
        _check_shapes(computed, sample.outputs)
        for index, (have, want) in enumerate(zip(computed, sample.outputs, strict=True)):
            difference = float(numpy.max(numpy.abs(_as_float(have) - _as_float(want)), initial=0.0))
            if not numpy.isfinite(difference):
                raise NumericsError(f"output {index} is not finite")
            largest[index] = max(largest[index], difference)
    relative = [
        difference / magnitude if magnitude else difference
        for difference, magnitude in zip(largest, magnitudes, strict=True)
    ]
    numerics = Numerics(checked=True, maximum_absolute_error=max(largest), maximum_relative_error=max(relative))
    worst = max(range(len(relative)), key=relative.__getitem__)
    if relative[worst] > tolerance_fraction:
        raise NumericsError(
            f"output {worst} is off by {relative[worst]:.2g} of its largest magnitude; allowed is "
            f"{tolerance_fraction:.2g}",
            numerics,
        )
    return numerics


def _check_shapes(computed: list[NDArray[Any]], reference: tuple[NDArray[Any], ...]) -> None:
    have, want = [output.shape for output in computed], [output.shape for output in reference]
    if have != want:
        raise NumericsError(f"the outputs have shapes {have}, and the reference {want}")


def _as_float(array: NDArray[Any]) -> NDArray[numpy.float64]:
    return array.astype(numpy.float64)
