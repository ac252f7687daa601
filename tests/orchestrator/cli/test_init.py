import ast

from orchestrator.cli.init import example_workload


def test_a_workload_is_written_that_can_be_searched_with(fleetfit, server, tmp_path):
    finished = fleetfit("init")
    assert (finished.code, finished.out) == (0, "workload.py\n")
    assert "Next: fleetfit search run workload.py" in finished.err
    ast.parse((tmp_path / "workload.py").read_text())
    run = fleetfit("search", "run", "workload.py", "--device", "my-pi", "--latency-p95", "20ms", "--dry-run")
    assert run.code == 0, run.err


def test_a_file_that_is_there_is_left_as_it_is(fleetfit, tmp_path):
    (tmp_path / "mine.py").write_text("mine")
    finished = fleetfit("init", "mine.py")
    assert finished.code == 7
    assert "mine.py is there already" in finished.err
    assert (tmp_path / "mine.py").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(fleetfit):
    finished = fleetfit("init", "none/mine.py")
    assert finished.code == 1
    assert "none/mine.py cannot be written" in finished.err


def test_the_template_is_the_example_of_the_repository():
    assert example_workload().name == "digits.py"
    assert "Workload" in example_workload().read_text()
