"""What every pass must keep to, run over every pass of the table on a plain network and on one with shortcuts."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from pipelines.compress import Baseline, Variant, compress, train_baseline
from pipelines.errors import RecipeError
from pipelines.evaluation.runtime import open_artifact
from pipelines.export.artifact import Artifact
from pipelines.passes import Pass, Stage
from pipelines.recipe import Recipe, parse_recipe
from pipelines.registry import PASSES
from tests.fakes.workloads import PlainStripes, ResidualStripes

WORKLOADS = {"plain": PlainStripes(), "residual": ResidualStripes()}

# Parameters that change something in both networks. A new pass in the table needs a line here.
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "structured_prune": [{"amount": 0.5, "epochs": 1}],
    "low_rank": [{"rank": 0.3, "epochs": 1}, {"energy": 0.6, "epochs": 1}],
    "distill": [{"width": 0.5, "epochs": 1}, {"width": 0.5, "epochs": 1, "weights": "reset"}],
    "magnitude_prune": [
        {"amount": 0.8, "epochs": 1},
        {"amount": 0.8, "scope": "global", "schedule": "gradual", "epochs": 1},
        {"pattern": "1:4", "epochs": 1},
    ],
    "int8": [{}],
    "int8_dynamic": [{}],
    "fp16": [{}],
    "int8_weights": [{}],
    "int4_weights": [{}],
    "weight_sharing": [{"bits": 4}, {"bits": 5}],
}
CASES = [
    pytest.param(
        name,
        index,
        network,
        id=f"{name}-{index}-{network}",
        marks=[] if network == "plain" else pytest.mark.thorough,
    )
    for name, examples in EXAMPLES.items()
    for index in range(len(examples))
    for network in WORKLOADS
]


@functools.cache
def _baseline(network: str) -> Baseline:
    torch.set_num_threads(1)
    return train_baseline(WORKLOADS[network], seed=0)


@functools.cache
def _made(name: str, index: int, network: str, train: bool) -> Variant:
    recipe = _recipe(name, index) if name else Recipe()
    baseline = _baseline(network).checkpoint
    return compress(WORKLOADS[network], recipe, baseline=baseline, seed=0, train=train)


def _recipe(name: str, index: int) -> Recipe:
    return parse_recipe({"passes": [{"pass": name, **EXAMPLES[name][index]}]})


def _weights(variant: Variant) -> int:
    """Numbers in all tensors of more than one dimension, counted in the file; a column of scales is none."""
    graph = onnx.load_from_string(variant.artifact).graph
    return sum(int(np.prod(tensor.dims)) for tensor in graph.initializer if np.prod(tensor.dims[1:]) > 1)


def _bits(variant: Variant) -> int:
    """Bits of one number of the file's largest tensor."""
    tensor = max(onnx.load_from_string(variant.artifact).graph.initializer, key=lambda each: np.prod(each.dims))
    four = tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
    return 4 if four else 8 * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _zeros(variant: Variant) -> int:
    """Zeros in all tensors of more than one dimension, counted in the file."""
    graph = onnx.load_from_string(variant.artifact).graph
    return sum(int((onnx.numpy_helper.to_array(tensor) == 0).sum()) for tensor in graph.initializer if tensor.dims[1:])


def test_every_pass_of_the_table_is_tried() -> None:
    assert EXAMPLES.keys() == PASSES.keys()


@pytest.mark.parametrize("kind", PASSES.values(), ids=PASSES)
def test_a_pass_says_what_it_is(kind: type[Pass]) -> None:
    assert kind.stage in Stage
    assert isinstance(kind.needs_training, bool)
    assert isinstance(kind.changes_structure, bool)
    # Retraining belongs to the model, not to a finished file.
    assert not (kind.needs_training and kind.stage is Stage.PRECISION)
    assert set(kind.formats) <= {"onnx", "tflite"}
    assert 0 < kind.tolerance < 1


@pytest.mark.parametrize(("name", "index", "network"), CASES)
def test_a_draft_has_the_structure_and_size_of_the_finished_artifact(name: str, index: int, network: str) -> None:
    draft, finished = _made(name, index, network, False), _made(name, index, network, True)
    assert draft.structure_sha256 == finished.structure_sha256
    assert abs(draft.size_bytes - finished.size_bytes) <= 0.02 * finished.size_bytes
    assert draft.train_s == 0


@pytest.mark.parametrize(("name", "index", "network"), CASES)
def test_the_file_is_smaller_by_what_the_pass_claims(name: str, index: int, network: str) -> None:
    before, after = _made("", 0, network, True), _made(name, index, network, True)
    (report,) = after.passes
    assert after.delivered_bytes < before.delivered_bytes
    if PASSES[name].stage is Stage.SPARSITY:
        # What is loaded is as large as before, and says so; only the zeros in it are more.
        assert (after.structure_sha256, after.size_bytes) == (before.structure_sha256, before.size_bytes)
        assert _zeros(after) > _zeros(before) + 0.1 * _weights(after)
        return
    assert after.structure_sha256 != before.structure_sha256
    assert after.size_bytes < before.size_bytes
    assert report.after.weight_bytes < report.before.weight_bytes
    if PASSES[name].changes_structure:
        assert _weights(after) < _weights(before)
        assert report.after.parameters < report.before.parameters
        assert report.after.macs < report.before.macs
    else:
        assert _weights(after) == _weights(before)
        assert _bits(after) < _bits(before)
        assert report.after.parameters == report.before.parameters


@pytest.mark.parametrize(("name", "index", "network"), CASES)
def test_the_file_runs_and_reproduces_its_golden_outputs(name: str, index: int, network: str) -> None:
    variant = _made(name, index, network, True)
    arrays = np.load(io.BytesIO(variant.golden))
    session = open_artifact(Artifact(content=variant.artifact, format=variant.format))
    for row, expected in enumerate(arrays["output_0"]):
        (found,) = session.run([arrays["input_0"][row : row + 1]])
        assert np.array_equal(found[0], expected)
    assert variant.accuracy is not None
    assert 0 <= variant.accuracy <= 1


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_repeatable(name: str) -> None:
    first = _made(name, 0, "residual", True)
    baseline = _baseline("residual").checkpoint
    again = compress(WORKLOADS["residual"], _recipe(name, 0), baseline=baseline, seed=0)
    assert again.sha256 == first.sha256


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_survives_the_way_through_json(name: str) -> None:
    for index in range(len(EXAMPLES[name])):
        recipe = _recipe(name, index)
        assert Recipe.model_validate_json(recipe.canonical_json()) == recipe
        assert recipe.title.startswith(name)


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_refuses_a_key_that_it_does_not_know(name: str) -> None:
    with pytest.raises(RecipeError, match=r"passes\.0\.colour: unknown key 'colour'"):
        parse_recipe({"passes": [{"pass": name, **EXAMPLES[name][0], "colour": "red"}]})
