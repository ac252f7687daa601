from __future__ import annotations

import numpy
import pytest

from agent.profiling.inputs import Golden, GoldenError, golden_samples, random_sample, read_golden, rotation
from agent.runtimes.runtime import TensorSpec


def spec(*shape, dtype="float32") -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=shape)


def golden(*shapes, outputs=((6, 2),), dtype="float32") -> Golden:
    generator = numpy.random.default_rng(0)
    return Golden(
        inputs=tuple(generator.standard_normal(shape).astype(dtype) for shape in shapes),
        outputs=tuple(generator.standard_normal(shape) for shape in outputs),
    )


def test_golden_arrays_are_read_in_their_order(tmp_path):
    arrays = {
        "output_1": numpy.ones(2),
        "output_0": numpy.zeros(2),
        "input_0": numpy.arange(3.0),
        "other": numpy.ones(1),
    }
    numpy.savez(tmp_path / "golden.npz", **arrays)
    found = read_golden(tmp_path / "golden.npz")
    assert [array.tolist() for array in found.inputs] == [[0, 1, 2]]
    assert [array.tolist() for array in found.outputs] == [[0, 0], [1, 1]]


@pytest.mark.parametrize("name", ["input_0", "output_0"])
def test_a_golden_file_needs_inputs_and_outputs(tmp_path, name):
    numpy.savez(tmp_path / "golden.npz", **{name: numpy.ones(1)})
    with pytest.raises(GoldenError, match="lacks"):
        read_golden(tmp_path / "golden.npz")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 broken"])
def test_what_is_no_golden_file_is_refused(tmp_path, content):
    (tmp_path / "golden.npz").write_bytes(content)
    with pytest.raises(GoldenError, match="cannot be read"):
        read_golden(tmp_path / "golden.npz")


def test_pickled_objects_are_refused(tmp_path):
    numpy.savez(tmp_path / "golden.npz", input_0=numpy.array([{}], dtype=object), output_0=numpy.ones(1))
    with pytest.raises(GoldenError, match="cannot be read"):
        read_golden(tmp_path / "golden.npz")


@pytest.mark.parametrize(("batch", "pieces"), [(None, 6), (1, 6), (2, 3), (6, 1)])
def test_golden_samples_come_as_the_model_takes_them(batch, pieces):
    whole = golden((6, 3))
    samples = golden_samples(whole, [spec(batch, 3)])
    assert len(samples) == pieces
    assert numpy.array_equal(numpy.concatenate([sample.inputs[0] for sample in samples]), whole.inputs[0])
    assert numpy.array_equal(numpy.concatenate([sample.outputs[0] for sample in samples]), whole.outputs[0])


def test_inputs_that_cannot_be_cut_alike_are_taken_whole():
    samples = golden_samples(golden((6, 3), (4,)), [spec(None, 3), spec(4)])
    assert [array.shape for array in samples[0].inputs] == [(6, 3), (4,)]
    assert len(samples) == 1


def test_an_output_without_a_batch_keeps_the_samples_together():
    assert len(golden_samples(golden((6, 3), outputs=((5,),)), [spec(None, 3)])) == 1


def test_golden_inputs_are_cast_within_their_kind():
    (first, *_) = golden_samples(golden((6, 3), dtype="float64"), [spec(None, 3)])
    assert first.inputs[0].dtype == numpy.float32


@pytest.mark.parametrize(
    ("shapes", "specs", "words"),
    [
        (((6, 3), (6, 3)), [spec(None, 3)], "has 2 inputs, and the model takes 1"),
        (((6, 4),), [spec(None, 3)], "has shape"),
        (((6, 3, 1),), [spec(None, 3)], "has shape"),
        (((5, 3),), [spec(2, 3)], "has shape"),
        (((0, 3),), [spec(2, 3)], "has shape"),
        (((6, 3),), [spec(None, 3, dtype="int8")], "is float32, and the model takes int8"),
    ],
)
def test_golden_inputs_that_do_not_fit_are_refused(shapes, specs, words):
    with pytest.raises(GoldenError, match=words):
        golden_samples(golden(*shapes), specs)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "int32", "int64", "bool"])
def test_random_inputs_have_type_and_shape_and_are_not_all_zero(dtype):
    (array,) = random_sample([spec(None, 3, None, 8, dtype=dtype)]).inputs
    assert (array.shape, array.dtype) == ((1, 3, 1, 8), numpy.dtype(dtype))
    assert numpy.any(array)


def test_random_inputs_are_the_same_each_time():
    first, second = (random_sample([spec(2, 3), spec(4)]) for _ in range(2))
    assert all(map(numpy.array_equal, first.inputs, second.inputs))


def test_a_few_samples_take_turns():
    samples = golden_samples(golden((100, 3), outputs=((100, 2),)), [spec(None, 3)])
    assert len(rotation(samples)) == 16
