"""What a model is fed: golden inputs with their outputs where there are some, else seeded random ones."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from agent.runtimes.runtime import TensorSpec

_SEED = 20_26
# More would only push each other, and the model, out of the caches.
_MOST_ROTATED = 16


class GoldenError(Exception):
    """The golden file cannot be read, or is not for this model; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """Reference inputs and outputs, with all samples along the first axis of each array."""

    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One inference's inputs, and the outputs that it should have; no outputs where none are known."""

    inputs: tuple[NDArray[Any], ...]
    outputs: tuple[NDArray[Any], ...] = ()


def read_golden(path: Path) -> Golden:
    """The arrays ``input_0``, ``input_1`` … and ``output_0`` … of an ``.npz`` file.

    Raises:
        GoldenError: The file cannot be read, or has no inputs or no outputs.
    """
    try:
        # Opened here: given a path, numpy leaves the file of a broken archive open.
        with path.open("rb") as file, numpy.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise GoldenError(f"the golden file cannot be read: {error}") from error
    inputs, outputs = _numbered(arrays, "input"), _numbered(arrays, "output")
    if not inputs or not outputs:
        raise GoldenError("the golden file lacks input_0 or output_0")
    return Golden(inputs=inputs, outputs=outputs)


def golden_samples(golden: Golden, specs: Sequence[TensorSpec]) -> tuple[Sample, ...]:
    """The golden arrays cut into pieces that the model takes at once: one sample where its batch is free.

    Raises:
        GoldenError: The arrays do not fit the model's inputs.
    """
    if len(golden.inputs) != len(specs):
        raise GoldenError(f"the golden file has {len(golden.inputs)} inputs, and the model takes {len(specs)}")
    inputs = tuple(_fitted(array, spec) for array, spec in zip(golden.inputs, specs, strict=True))
    counts = {_piece_count(array, spec) for array, spec in zip(inputs, specs, strict=True)}
    count = counts.pop() if len(counts) == 1 else 1
    if any(output.ndim == 0 or output.shape[0] % count for output in golden.outputs):
        count = 1
    return tuple(
        Sample(
            inputs=tuple(_piece(array, index, count) for array in inputs),
            outputs=tuple(_piece(array, index, count) for array in golden.outputs),
        )
        for index in range(count)
    )


def random_sample(specs: Sequence[TensorSpec]) -> Sample:
    """Seeded inputs of the right types and shapes, free dimensions being 1; never zeros, which runtimes skip over."""
    generator = numpy.random.default_rng(_SEED)
    return Sample(inputs=tuple(_random(spec, generator) for spec in specs))


def rotation(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """The samples that take turns while a model is timed."""
    return tuple(samples[:_MOST_ROTATED])


def _random(spec: TensorSpec, generator: numpy.random.Generator) -> NDArray[Any]:
    shape = tuple(1 if size is None else size for size in spec.shape)
    dtype = numpy.dtype(spec.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return generator.random(shape) < 0.5
    if dtype.itemsize == 1:
        return generator.integers(1, 128, shape).astype(dtype)
    # Wider integers are indices more often than numbers: one is an index into any table but the smallest.
    return numpy.ones(shape, dtype)


def _numbered(arrays: dict[str, NDArray[Any]], prefix: str) -> tuple[NDArray[Any], ...]:
    found: list[NDArray[Any]] = []
    while (name := f"{prefix}_{len(found)}") in arrays:
        found.append(arrays[name])
    return tuple(found)


def _fitted(array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    dtype = numpy.dtype(spec.dtype)
    if array.dtype != dtype:
        if array.dtype.kind != dtype.kind:
            raise GoldenError(f"golden input '{spec.name}' is {array.dtype}, and the model takes {dtype}")
        array = array.astype(dtype)
    inner = array.shape[1:]
    expected = spec.shape[1:]
    fits = array.ndim == len(spec.shape) and all(
        want in (None, have) for have, want in zip(inner, expected, strict=True)
    )
    if fits and spec.shape and spec.shape[0] is not None:
        fits = array.shape[0] > 0 and array.shape[0] % spec.shape[0] == 0
    if not fits:
        raise GoldenError(f"golden input '{spec.name}' has shape {array.shape}, and the model takes {spec.shape}")
    return array


def _piece_count(array: NDArray[Any], spec: TensorSpec) -> int:
    return array.shape[0] // (spec.shape[0] or 1) if spec.shape else 1


def _piece(array: NDArray[Any], index: int, count: int) -> NDArray[Any]:
    if count == 1:
        return array
    size = array.shape[0] // count
    return array[index * size : (index + 1) * size]
