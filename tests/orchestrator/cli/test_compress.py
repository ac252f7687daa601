import json

import numpy as np
import onnx
import pytest

WORKLOAD = '''
from tests.fakes.workloads import PlainStripes


class Stripes(PlainStripes):
    """Stripes in noise."""
'''
RECIPE = "passes:\n  - {pass: magnitude_prune, amount: 0.5, epochs: 1}\n  - pass: weight_sharing\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "stripes.py").write_text(WORKLOAD)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_a_recipe_runs_here_and_again_from_its_baseline(fleetfit, files):
    finished = fleetfit("compress", "stripes.py", "--recipe", "recipe.yaml", "-o", "out/")
    assert finished.code == 0, finished.err
    table = finished.out.splitlines()
    assert table[0].split() == ["PASS", "PARAMETERS", "MACS", "WEIGHTS", "METRIC"]
    assert [line.split()[0] for line in table[1:3]] == ["magnitude_prune", "weight_sharing"]
    assert "train the baseline" in finished.err
    assert "--baseline out/baseline.pt" in finished.err
    model = (files / "out" / "model.onnx").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(model))
    assert set(np.load(files / "out" / "golden.npz")) == {"input_0", "output_0"}

    arguments = ("--recipe", "recipe.yaml", "-o", "again", "--baseline", "out/baseline.pt", "--json")
    again = fleetfit("compress", "stripes.py", *arguments)
    assert "train the baseline" not in again.err
    summary = json.loads(again.out)
    assert summary["size_bytes"] == len(model)
    assert summary["delivered_bytes"] < len(model)
    assert [report["name"] for report in summary["passes"]] == ["magnitude_prune", "weight_sharing"]
    assert (files / "again" / "model.onnx").read_bytes() == model


def test_a_wrong_recipe_is_told_before_anything_is_trained(fleetfit, files):
    finished = fleetfit("compress", "stripes.py", "--recipe", "no-such", "-o", "out")
    assert finished.code == 2
    assert "there is no ready-made recipe 'no-such'" in finished.err
    assert "train" not in finished.err
    assert not (files / "out").exists()


def test_a_pass_that_changes_nothing_is_an_operation_that_failed(fleetfit, files):
    (files / "recipe.yaml").write_text("passes:\n  - {pass: low_rank, rank: 0.98}\n")
    finished = fleetfit("compress", "stripes.py", "--recipe", "recipe.yaml", "-o", "out")
    assert finished.code == 1
    assert "no layer would get smaller" in finished.err
    # What was trained is kept for the next try.
    assert (files / "out" / "baseline.pt").is_file()


def test_a_workload_that_raises_is_named_with_its_line(fleetfit, files):
    (files / "stripes.py").write_text(WORKLOAD + "\n    def model(self):\n        raise LookupError('lost')\n")
    finished = fleetfit("compress", "stripes.py", "--recipe", "int8", "-o", "out")
    assert finished.code == 2
    assert "stripes.py:9: model() raised LookupError: lost" in finished.err
