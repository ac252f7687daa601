"""The golden file: reference inputs and outputs that every device runs before it serves a release."""

from __future__ import annotations

import io
import zipfile
from itertools import count, takewhile

import numpy

from orchestrator.errors import OperationError
from orchestrator.releases.manifest import Interface, Tensor


def read_interface(golden: bytes) -> Interface:
    """Inputs and outputs of the model: names, types and shapes of the arrays in its golden file.

    Args:
        golden: An ``.npz`` with arrays ``input_0`` …, ``output_0`` ….

    Raises:
        OperationError: It is not such a file, or lacks inputs or outputs: no device could prove anything with it.
    """
    try:
        with numpy.load(io.BytesIO(golden), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise OperationError(f"the golden file cannot be read: {error}") from error
    inputs, outputs = _numbered(found, "input"), _numbered(found, "output")
    if not inputs or not outputs:
        raise OperationError("the golden file has no inputs or no outputs")
    return Interface(inputs=inputs, outputs=outputs)


def _numbered(arrays: dict[str, numpy.ndarray], kind: str) -> tuple[Tensor, ...]:
    names = takewhile(arrays.__contains__, (f"{kind}_{number}" for number in count()))
    return tuple(Tensor(name=name, dtype=str(arrays[name].dtype), shape=arrays[name].shape) for name in names)
