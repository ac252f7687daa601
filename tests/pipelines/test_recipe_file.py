from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import RecipeError
from pipelines.prune.structured import StructuredPrune
from pipelines.quantize.static import QuantizeInt8
from pipelines.recipe import Recipe
from pipelines.recipe_file import read_recipe


def _message(tmp_path: Path, text: str) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    return str(caught.value).removeprefix(f"{tmp_path}/")


def test_yaml_and_json_are_read(tmp_path: Path) -> None:
    expected = Recipe(name="half", passes=(StructuredPrune(amount=0.5), QuantizeInt8()))
    yaml = tmp_path / "recipe.yaml"
    yaml.write_text("name: half\npasses:\n  - {pass: structured_prune, amount: 0.5}\n  - pass: int8  # eight bits\n")
    json = tmp_path / "recipe.json"
    json.write_text(expected.model_dump_json())
    assert read_recipe(yaml) == expected
    assert read_recipe(json) == expected


def test_a_misspelt_key_is_shown_where_it_stands(tmp_path: Path) -> None:
    assert _message(tmp_path, "passes:\n  - pass: structured_prune\n    amont: 0.5\n") == (
        "recipe.yaml:3:5: passes.0.amont: unknown key 'amont'; did you mean 'amount'?\n"
        "  3 |     amont: 0.5\n"
        "    |     ^"
    )


def test_an_unknown_pass_is_shown_where_it_stands(tmp_path: Path) -> None:
    message = _message(tmp_path, "name: mine\npasses:\n  - pass: int8\n  - {amount: 0.5, pass: structured_prun}\n")
    assert message == (
        "recipe.yaml:4:19: passes.1.pass: unknown pass 'structured_prun'; did you mean 'structured_prune'?\n"
        "  4 |   - {amount: 0.5, pass: structured_prun}\n"
        "    |                   ^"
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("passes:\n  - pass: int8\n  - pass: low_rank\n    rank: 0.5\n", "recipe.yaml:3:5: passes.1: low_rank cannot"),
        ("passes:\n  - pass: low_rank\n    rank: 2\n", "recipe.yaml:3:5: passes.0.rank: Input should be less than 1"),
        ("passes:\n  - pass: distill\n", "recipe.yaml:2:5: passes.0.width: this key is missing"),
        ("passes:\n  - pass: low_rank\n", "recipe.yaml:2:5: passes.0: give one of rank and energy"),
        ("export:\n  format: tflit\n", "recipe.yaml:2:3: export.format: "),
        ("passes: []\npasses: []\n", "recipe.yaml:2:1: found duplicate key"),
        ("passes: [\n", "recipe.yaml:2:1: "),
        ("passes:\n\t- pass: int8\n", "recipe.yaml:2:1: found character"),
        ("- pass: int8\n", "recipe.yaml:1:1: a recipe is a mapping"),
        ("", "recipe.yaml:1:1: a recipe is a mapping"),
    ],
)
def test_each_mistake_has_its_line_and_column(tmp_path: Path, text: str, place: str) -> None:
    assert _message(tmp_path, text).startswith(place)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.yaml: cannot be read"):
        read_recipe(tmp_path / "absent.yaml")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"recipe\.yaml: cannot be read"):
        read_recipe(path)
