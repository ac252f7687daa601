"""The page on recipes tells the truth: its examples are recipes, and its tables are those of the passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.recipe_file import read_recipe_text
from pipelines.recipes.ready_made import ready_made_names
from pipelines.registry import PASSES
from pipelines.space import default_recipes

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
SECTIONS = {
    match[1]: match[2] for match in re.finditer(r"^### `(\w+)`.*?\n(.*?)(?=^##)", PAGE, re.DOTALL | re.MULTILINE)
}


def test_the_examples_are_recipes() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert [read_recipe_text(text, "page").title for text in examples] == ["half"]


def test_every_pass_has_a_section() -> None:
    assert SECTIONS.keys() == PASSES.keys()


@pytest.mark.parametrize("name", PASSES)
def test_the_table_of_a_pass_has_its_keys_and_defaults(name: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", SECTIONS[name], re.MULTILINE))
    assert rows.keys() == PASSES[name].model_fields.keys()
    for key, field in PASSES[name].model_fields.items():
        shown = rows[key].strip("`")
        if field.is_required():
            assert shown == "needed"
        elif field.default is None:
            assert shown in ("the workload's", "none")
        else:
            assert shown == f"{field.default:g}" if isinstance(field.default, float) else str(field.default).lower()


def test_every_ready_made_recipe_is_listed() -> None:
    table = PAGE[PAGE.index("## Ready-made recipes") : PAGE.index("## From Python")]
    assert tuple(sorted(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE))) == ready_made_names()


def test_the_number_of_default_recipes_is_right() -> None:
    assert len(default_recipes(formats=("onnx",))) == 13
    assert "tries thirteen of its own" in PAGE
