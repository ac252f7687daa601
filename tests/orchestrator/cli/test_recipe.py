import json

from pipelines.recipes.ready_made import ready_made_names, ready_made_text


def test_the_ready_made_recipes_are_listed(fleetfit):
    finished = fleetfit("recipe", "list")
    assert finished.code == 0
    assert [line.split()[0] for line in finished.out.splitlines()[1:]] == list(ready_made_names())
    assert "structured_prune 0.5 + int8" in finished.out
    listed = json.loads(fleetfit("recipes", "list", "--json").out)["recipes"]
    assert [each["name"] for each in listed] == list(ready_made_names())


def test_a_shown_recipe_is_a_file_that_is_valid(fleetfit, tmp_path):
    shown = fleetfit("recipes", "show", "half-int8")
    assert shown.out == ready_made_text("half-int8")
    (tmp_path / "mine.yaml").write_text(shown.out)
    finished = fleetfit("recipe", "validate", "mine.yaml")
    assert finished.code == 0
    assert "structured_prune 0.5 + int8" in finished.out


def test_a_name_that_is_none_is_refused_with_the_nearest(fleetfit):
    finished = fleetfit("recipe", "show", "half-int")
    assert (finished.code, finished.out) == (2, "")
    assert "did you mean 'half-int8'?" in finished.err


def test_a_wrong_recipe_is_shown_at_its_line(fleetfit, tmp_path):
    (tmp_path / "wrong.yaml").write_text("passes:\n  - pass: int8\n  - pass: magnitude_prune\n    amount: 0.5\n")
    finished = fleetfit("recipe", "validate", "wrong.yaml")
    assert finished.code == 2
    assert "wrong.yaml:3:5: passes.1: magnitude_prune cannot come after int8" in finished.err
    assert "  3 |   - pass: magnitude_prune" in finished.err
