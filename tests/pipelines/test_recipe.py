from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.distill.distill import Distill
from pipelines.errors import RecipeError
from pipelines.low_rank.svd import LowRank
from pipelines.prune.structured import StructuredPrune
from pipelines.quantize.dynamic import QuantizeInt8Dynamic
from pipelines.quantize.static import QuantizeInt8
from pipelines.recipe import Recipe, parse_recipe

PRUNE = {"pass": "structured_prune", "amount": 0.5}


def test_plain_data_and_classes_make_the_same_recipe() -> None:
    written = parse_recipe({"passes": [PRUNE, {"pass": "int8"}], "export": {"format": "onnx"}})
    assert written == Recipe(passes=(StructuredPrune(amount=0.5), QuantizeInt8()))


def test_a_title_tells_the_passes() -> None:
    assert Recipe(passes=(StructuredPrune(amount=0.5), QuantizeInt8())).title == "structured_prune 0.5 + int8"
    assert Recipe(passes=(Distill(width=0.25), LowRank(rank=0.5), QuantizeInt8Dynamic())).title == (
        "distill 0.25 + low_rank 0.5 + int8_dynamic"
    )
    assert Recipe().title == "baseline"
    assert parse_recipe({"export": {"format": "tflite"}}).title == "baseline (tflite)"
    assert Recipe(name="small", passes=(QuantizeInt8(),)).title == "small"


def test_canonical_json_writes_every_default_out_and_reads_back() -> None:
    recipe = parse_recipe({"passes": [PRUNE]})
    data = json.loads(recipe.canonical_json())
    assert data["passes"] == [
        {"pass": "structured_prune", "amount": 0.5, "importance": "l2", "round_to": 4, "epochs": None}
    ]
    assert data["export"] == {"format": "onnx"}
    assert Recipe.model_validate_json(recipe.canonical_json()) == recipe
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_the_hash_knows_what_is_done_and_not_what_it_is_called() -> None:
    recipe = parse_recipe({"passes": [PRUNE]})
    assert parse_recipe({"passes": [{**PRUNE, "round_to": 4}], "name": "half"}).sha256 == recipe.sha256
    assert parse_recipe({"passes": [{**PRUNE, "amount": 0.4}]}).sha256 != recipe.sha256
    assert parse_recipe({"passes": [PRUNE], "export": {"format": "tflite"}}).sha256 != recipe.sha256


def test_a_recipe_cannot_be_changed() -> None:
    recipe = parse_recipe({"passes": [PRUNE]})
    with pytest.raises(ValidationError, match="frozen"):
        recipe.passes[0].amount = 0.9  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"passes": [{"pass": "structured_pruning", "amount": 0.5}]},
            "passes.0.pass: unknown pass 'structured_pruning'; did you mean 'structured_prune'?",
        ),
        (
            {"passes": [{"pass": "teleport"}]},
            "passes.0.pass: unknown pass 'teleport'; known are distill, fp16, int4_weights",
        ),
        (
            {"passes": [{"pass": "structured_prune", "amont": 0.5}]},
            "passes.0.amont: unknown key 'amont'; did you mean 'amount'?",
        ),
        ({"passes": [{"pass": "structured_prune"}]}, "passes.0.amount: this key is missing"),
        ({"passes": [{"amount": 0.5}]}, "passes.0: the key 'pass' with the pass's name is missing"),
        (
            {"passes": ["int8"]},
            "passes.0: a pass is a mapping such as {pass: structured_prune, amount: 0.5}, not 'int8'",
        ),
        ({"passes": "int8"}, "passes: it must be a list of passes, not 'int8'"),
        ({"pases": []}, "pases: unknown key 'pases'; did you mean 'passes'?"),
        ({"export": {"format": "onxx"}}, "export.format: Input should be 'onnx' or 'tflite'"),
        ({"export": {"fromat": "onnx"}}, "export.fromat: unknown key 'fromat'; did you mean 'format'?"),
        ({"passes": [{**PRUNE, "importance": "l3"}]}, "passes.0.importance: Input should be 'l1', 'l2' or 'random'"),
        (
            {"passes": [{"pass": "int8", "reduce_range": "maybe"}]},
            "passes.0.reduce_range: Input should be 'auto', True or False",
        ),
    ],
)
def test_what_is_not_understood_is_refused_by_name(data: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(data)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "step",
    [
        {"pass": "structured_prune", "amount": 0},
        {"pass": "structured_prune", "amount": 1},
        {"pass": "structured_prune", "amount": 1.5},
        {"pass": "structured_prune", "amount": -0.1},
        {"pass": "structured_prune", "amount": float("nan")},
        {"pass": "structured_prune", "amount": "0.5"},
        {"pass": "structured_prune", "amount": True},
        {"pass": "structured_prune", "amount": 0.5, "round_to": 0},
        {"pass": "structured_prune", "amount": 0.5, "epochs": 0},
        {"pass": "structured_prune", "amount": 0.5, "epochs": 2.5},
        {"pass": "low_rank", "rank": 0},
        {"pass": "low_rank"},
        {"pass": "low_rank", "rank": 0.5, "energy": 0.9},
        {"pass": "low_rank", "energy": 1.0},
        {"pass": "low_rank", "rank": 1},
        {"pass": "distill", "width": 1},
        {"pass": "distill", "width": 0.5, "alpha": 0},
        {"pass": "distill", "width": 0.5, "alpha": 1.1},
        {"pass": "distill", "width": 0.5, "temperature": 0.5},
        {"pass": "int8", "calibration_samples": 0},
        {"pass": "int8", "per_channel": "yes"},
    ],
)
def test_a_value_out_of_range_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"^passes\.0[.:]"):
        parse_recipe({"passes": [step]})


@pytest.mark.parametrize("structural", [PRUNE, {"pass": "low_rank", "rank": 0.5}, {"pass": "distill", "width": 0.5}])
@pytest.mark.parametrize("precision", ["int8", "int8_dynamic"])
def test_structure_cannot_change_after_the_data_types_are_fixed(structural: dict[str, Any], precision: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe({"passes": [{"pass": precision}, structural]})
    assert f"passes.1: {structural['pass']} cannot come after {precision}" in str(caught.value)
    assert f"put {structural['pass']} first" in str(caught.value)


def test_data_types_cannot_be_fixed_twice() -> None:
    with pytest.raises(RecipeError, match=r"passes\.1: int8_dynamic cannot come after int8: .* keep one of them"):
        parse_recipe({"passes": [{"pass": "int8"}, {"pass": "int8_dynamic"}]})


@pytest.mark.parametrize(
    "step",
    [
        {"pass": "int8", "reduce_range": True},
        {"pass": "int8", "activations": "int8"},
        {"pass": "int8_dynamic", "reduce_range": False},
    ],
)
def test_a_parameter_that_the_format_does_not_know_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"^passes\.0: .*is for ONNX"):
        parse_recipe({"passes": [step], "export": {"format": "tflite"}})
    assert parse_recipe({"passes": [step]}).passes
