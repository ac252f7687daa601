import io

import numpy
import pytest

from orchestrator.errors import OperationError
from orchestrator.releases.golden import read_interface


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    numpy.savez(buffer, **arrays)
    return buffer.getvalue()


def test_the_interface_is_read_from_the_reference_arrays_in_order():
    images, hidden = numpy.zeros((4, 1, 8, 8), numpy.float32), numpy.zeros((4, 16), numpy.int8)
    interface = read_interface(npz(output_0=hidden, input_1=hidden, input_0=images))
    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in interface.inputs] == [
        ("input_0", "float32", (4, 1, 8, 8)),
        ("input_1", "int8", (4, 16)),
    ]
    assert [tensor.name for tensor in interface.outputs] == ["output_0"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 cut",
        npz(input_0=numpy.zeros(1)),
        npz(output_0=numpy.zeros(1)),
        npz(input_1=numpy.zeros(1), output_0=numpy.zeros(1)),
        npz(input_0=numpy.zeros(1), output_0=numpy.zeros(1))[:-40],
        npz(input_0=numpy.array([{"a": 1}], dtype=object), output_0=numpy.zeros(1)),
    ],
    ids=["empty", "cut", "no-outputs", "no-inputs", "gap", "truncated", "pickled"],
)
def test_a_file_that_proves_nothing_is_refused(data):
    with pytest.raises(OperationError, match="golden file"):
        read_interface(data)
