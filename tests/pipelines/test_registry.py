from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import PassError, RecipeError
from pipelines.passes import Pass
from pipelines.recipe import parse_recipe
from pipelines.registry import PASSES, find_pass, pass_names

FOREIGN = '''
from typing import ClassVar

from pipelines.passes import Pass, Stage


class Polish(Pass):
    """Does nothing of note."""

    name: ClassVar[str] = "polish"
    stage: ClassVar[Stage] = Stage.STRUCTURE
    needs_training: ClassVar[bool] = False
    changes_structure: ClassVar[bool] = False

    shine: float = 1.0

    @property
    def title(self) -> str:
        return "polish"

    def apply(self, context) -> None:
        context.remark("polished")
'''


def _install(folder: Path, module: str, source: str, entry_point: str) -> None:
    (folder / f"{module}.py").write_text(source)
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[fleetfit.passes]\n{entry_point}\n")


def test_every_pass_stands_in_the_table_under_its_own_name() -> None:
    assert {name: kind.name for name, kind in PASSES.items()} == {name: name for name in PASSES}
    assert all(issubclass(kind, Pass) and (kind.__doc__ or "").find("Source:") > 0 for kind in PASSES.values())


def test_a_pass_of_another_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "polishing", FOREIGN, "polish = polishing:Polish")
    monkeypatch.syspath_prepend(tmp_path)
    assert "polish" in pass_names()
    recipe = parse_recipe({"passes": [{"pass": "polish", "shine": 2.0}]})
    assert recipe.title == "polish"
    assert '"shine":2.0' in recipe.canonical_json()


def test_a_foreign_pass_cannot_take_the_name_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "usurping", FOREIGN.replace("polish", "int8"), "int8 = usurping:Polish")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_pass("int8") is PASSES["int8"]
    assert pass_names().count("int8") == 1


def test_a_foreign_pass_that_does_not_load_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "crumbling", "import no_such_module_at_all\n", "crumble = crumbling:Crumble")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PassError, match=r"pass 'crumble' \(crumbling:Crumble\) does not load"):
        find_pass("crumble")
    with pytest.raises(RecipeError, match=r"passes\.0\.pass: pass 'crumble'"):
        parse_recipe({"passes": [{"pass": "crumble"}]})


def test_something_that_is_no_pass_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(tmp_path, "pretending", "class Pretence:\n    name = 'pretence'\n", "pretence = pretending:Pretence")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PassError, match="is offered as pass 'pretence' and is not one"):
        find_pass("pretence")


def test_a_name_that_nobody_offers_is_not_found() -> None:
    assert find_pass("teleport") is None
