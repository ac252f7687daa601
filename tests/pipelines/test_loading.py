from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest

from pipelines.errors import WorkloadError
from pipelines.loading import load_workload, load_workload_source

COMPLETE = """\
import torch
from torch import nn

from pipelines import Training, Workload


class Mine(Workload):
    training = Training(epochs=3)

    def model(self):
        return nn.Linear(4, 2)

    def train_data(self):
        return torch.zeros(8, 4), torch.zeros(8, dtype=torch.long)

    def validation_data(self):
        return self.train_data()

    def example_input(self):
        return torch.zeros(1, 4)
"""


def _error(source: str) -> WorkloadError:
    with pytest.raises(WorkloadError) as caught:
        load_workload_source(source.encode(), "mine.py")
    return caught.value


def test_a_workload_is_loaded_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(COMPLETE)
    workload = load_workload(path)
    assert type(workload).__name__ == "Mine"
    assert workload.training.epochs == 3


def test_a_workload_is_loaded_from_bytes_without_writing_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    workload = load_workload_source(COMPLETE.encode(), "mine.py")
    assert workload.example_input().shape == (1, 4)
    assert list(tmp_path.iterdir()) == []


def test_the_same_bytes_can_be_loaded_twice() -> None:
    first = load_workload_source(COMPLETE.encode(), "mine.py")
    second = load_workload_source(COMPLETE.encode(), "mine.py")
    assert type(first) is not type(second)
    assert second.example_input().shape == (1, 4)


def test_a_traceback_shows_the_lines_of_a_workload_that_is_no_file() -> None:
    workload = load_workload_source(COMPLETE.replace("nn.Linear(4, 2)", "1 / 0").encode(), "mine.py")
    try:
        workload.model()
    except ZeroDivisionError as error:
        shown = "".join(traceback.format_exception(error))
    assert 'File "mine.py", line 11, in model\n    return 1 / 0' in shown


def test_a_dataclass_in_a_workload_works() -> None:
    header = "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    source = header + "@dataclass\nclass Size:\n    n: int\n\n" + COMPLETE
    assert load_workload_source(source.encode(), "mine.py")


def test_a_base_class_in_the_same_file_is_no_second_workload() -> None:
    source = COMPLETE + "\n\nclass Wider(Mine):\n    pass\n"
    assert type(load_workload_source(source.encode(), "mine.py")).__name__ == "Wider"


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("class Mine(:\n", 1, "mine.py:1: SyntaxError: invalid syntax"),
        ("x = 1\nimport no_such_module_at_all\n", 2, "mine.py:2: ModuleNotFoundError: No module named"),
        ("def f():\n    return {}['key']\n\n\nf()\n", 2, "mine.py:2: KeyError: 'key'"),
        ("import sys\nsys.exit('no')\n", 2, "mine.py:2: SystemExit: no"),
        ("x = 1\n", 0, "mine.py: holds no class that subclasses pipelines.Workload"),
        (
            COMPLETE.replace("def train_data", "def training_data"),
            7,
            "mine.py:7: class Mine has no method train_data()",
        ),
        (COMPLETE + "\n\nclass Other(Workload):\n    pass\n", 23, "mine.py:23: more than one workload: Mine and Other"),
        (
            COMPLETE + "\n    def __init__(self, size):\n        self.size = size\n",
            7,
            "mine.py:7: Mine() raised TypeError: Mine.__init__() missing 1 required positional argument",
        ),
        (
            COMPLETE + "\n    def __init__(self):\n        self.size = open('/no/such/file')\n",
            23,
            "mine.py:23: Mine() raised FileNotFoundError",
        ),
    ],
)
def test_each_mistake_has_file_and_line(source: str, line: int, message: str) -> None:
    error = _error(source)
    assert str(error).startswith(message)
    assert (error.file, error.line) == ("mine.py", line)


def test_all_missing_methods_are_named_at_once() -> None:
    error = _error("from pipelines import Workload\n\n\nclass Mine(Workload):\n    pass\n")
    assert "no method example_input(), model(), train_data(), validation_data()" in str(error)
    assert "fleetfit init" in error.hint


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(WorkloadError, match="is not UTF-8 text"):
        load_workload_source(b"\xff\xfe", "mine.py")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"absent\.py: cannot be read: No such file"):
        load_workload(tmp_path / "absent.py")


def test_an_error_survives_the_way_from_worker_to_caller() -> None:
    error = pickle.loads(pickle.dumps(_error("class Mine(:\n")))  # noqa: S301
    assert (error.message, error.file, error.line) == (
        "mine.py:1: SyntaxError: invalid syntax (mine.py, line 1)",
        "mine.py",
        1,
    )
