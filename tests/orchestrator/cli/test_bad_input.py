"""What a user gets wrong ends in one clear line: what, where, what to do. Never a traceback."""

import pytest

from orchestrator.errors import ConflictError, UnauthenticatedError, WorkloadFailedError

SPEC = "workload: digits.py\nname: digits\ndevices: [my-pi]\nbudgets:\n  latency_p95: 20ms\n"


def check(finished, *, code: int, says: tuple[str, ...]) -> None:
    assert finished.code == code, finished.err
    assert "Traceback" not in finished.err
    assert finished.out == ""
    lines = finished.err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    for text in says:
        assert text in finished.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("name: digits", "nane: digits"), ("search.yaml:2:1: unknown key 'nane'; did you mean 'name'?", "2 | nane")),
        (
            ("latency_p95: 20ms", "latncy_p95: 20ms"),
            ("search.yaml:5:3: unknown key 'budgets.latncy_p95'; did you mean 'latency_p95'?",),
        ),
        (("20ms", "20"), ("search.yaml:5:16: budgets.latency_p95:", "for example 20ms")),
        (("20ms", "-1ms"), ("search.yaml:5:16: budgets.latency_p95: '-1ms' is not above zero",)),
        (("20ms", "20parsec"), ("unknown unit 'parsec'",)),
        (("name: digits", "name: Digits!"), ("search.yaml:2:7: name:",)),
        (("devices: [my-pi]\n", ""), ("says nothing of 'devices'", "--device")),
        (("workload: digits.py\n", ""), ("names no workload", "workload: digits.py")),
        (("workload:", "wrokload:"), ("search.yaml:1:1: unknown key 'wrokload'; did you mean 'workload'?",)),
        (("devices: [my-pi]", "devices: [my-pi"), ("search.yaml:",)),
        (("name: digits", "name: digits\nname: again"), ("search.yaml:3:1:", "duplicate")),
        (("budgets:", "max_trials: 0\nbudgets:"), ("search.yaml:4:13: max_trials:",)),
        (
            ("budgets:", "recipes:\n  - passes:\n      - pass: prune_structured\nbudgets:"),
            ("search.yaml:6:", "unknown pass 'prune_structured'", "did you mean 'structured_prune'?"),
        ),
        (
            ("budgets:", "recipes:\n  - passes:\n      - {pass: structured_prune, amont: 0.5}\nbudgets:"),
            ("search.yaml:6:", "amont", "did you mean 'amount'?"),
        ),
    ],
)
def test_a_mistake_in_a_spec_is_named_with_its_place(fleetfit, workload, tmp_path, change, says):
    (tmp_path / "search.yaml").write_text(SPEC.replace(*change))
    check(fleetfit("search", "run", "search.yaml"), code=2, says=says)


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "just text\n", "a: b: c\n", "\tname: x\n"])
def test_a_spec_that_is_no_mapping_is_refused(fleetfit, tmp_path, content):
    (tmp_path / "search.yaml").write_text(content)
    check(fleetfit("search", "run", "search.yaml"), code=2, says=("search.yaml:1:",))


def test_a_spec_that_is_no_text_is_refused(fleetfit, tmp_path):
    (tmp_path / "search.yaml").write_bytes(b"\xff\xfe\x00")
    check(fleetfit("search", "run", "search.yaml"), code=2, says=("not UTF-8",))


def test_a_missing_spec_is_named(fleetfit):
    check(fleetfit("search", "run", "none.yaml"), code=2, says=("none.yaml", "No such file"))


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--latency-p95", "20", ("--latency-p95: '20' has no unit", "20ms")),
        ("--latency-p95", "-20ms", ("--latency-p95: '-20ms' is not above zero",)),
        ("--energy", "0mJ", ("--energy: '0mJ' is not above zero",)),
        ("--memory", "64MiBB", ("--memory: unknown unit 'MiBB'",)),
        ("--size", "large", ("--size: 'large' is not a number with a unit",)),
        ("--accuracy", "97", ("--accuracy: '97' lies outside 0 to 1",)),
        ("--max-accuracy-drop", "-1%", ("--max-accuracy-drop: '-1%' lies outside 0 to 1",)),
        ("--time-limit", "30", ("--time-limit: '30' has no unit",)),
        ("--max-trials", "0", ("--max-trials:",)),
        ("--name", "Not a name", ("--name:",)),
    ],
)
def test_a_wrong_option_is_named(fleetfit, workload, option, value, says):
    budget = () if option == "--latency-p95" else ("--latency-p95", "20ms")
    check(fleetfit("search", "run", "digits.py", "--device", "my-pi", *budget, option, value), code=2, says=says)


def test_a_search_without_a_budget_says_what_one_looks_like(fleetfit, workload):
    says = ("says nothing of 'budgets'", "--latency-p95 20ms")
    check(fleetfit("search", "run", "digits.py", "--device", "my-pi"), code=2, says=says)


def test_a_search_without_a_device_says_how_to_name_one(fleetfit, workload):
    check(fleetfit("search", "run", "digits.py", "--size", "1MB"), code=2, says=("'devices'", "--device"))


RUN = ("--device", "my-pi", "--latency-p95", "20ms")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.py", None, ("none.py", "No such file", "fleetfit init")),
        ("broken.py", "class A:\n    def f(self:\n        pass\n", ("broken.py:2:", "def f(self:")),
        ("empty.py", "x = 1\n", ("empty.py", "defines no class")),
        ("null.py", "x = '\0'\n", ("null.py",)),
        ("notes.txt", "hello", ("notes.txt is not a workload",)),
    ],
)
def test_a_workload_that_cannot_be_one_is_not_sent(fleetfit, server, tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_text(content)
    check(fleetfit("search", "run", name, *RUN), code=2, says=says)
    assert "CreateSearch" not in server.script.received


def test_the_users_style_is_not_ours_to_warn_about(fleetfit, server, tmp_path):
    (tmp_path / "style.py").write_text("class A:\n    x = '\\d' is 1\n")
    finished = fleetfit("search", "run", "style.py", *RUN, "--dry-run")
    assert finished.code == 0
    assert "Warning" not in finished.err


def test_a_workload_that_does_not_import_is_told_by_the_server(fleetfit, server, workload):
    server.script.error = WorkloadFailedError("digits.py:3: No module named 'sklern'", hint="install it")
    finished = fleetfit("search", "run", "digits.py", *RUN)
    check(finished, code=1, says=("digits.py:3: No module named 'sklern'", "hint: install it"))


def test_a_recipe_file_with_a_mistake_is_named_with_its_place(fleetfit, workload, tmp_path):
    (tmp_path / "half.yaml").write_text("passes:\n  - pass: structured_prune\n    amount: 1.5\n")
    finished = fleetfit("search", "run", "digits.py", *RUN, "--recipe", "half.yaml")
    check(finished, code=2, says=("half.yaml:3:", "amount"))


def test_an_unknown_device_is_not_found(fleetfit, server):
    check(fleetfit("device", "show", "other-pi"), code=4, says=("there is no device 'other-pi'",))


def test_an_unknown_search_is_not_found(fleetfit, server):
    check(fleetfit("search", "watch", "other"), code=4, says=("there is no search 'other'",))


def test_without_a_server_the_line_says_how_to_start_one(fleetfit):
    check(fleetfit("device", "list"), code=6, says=("no orchestrator runs in", "fleetfit up"))


def test_a_server_that_is_down_is_unreachable(fleetfit, server, monkeypatch):
    finished = fleetfit("device", "list", "--server", "127.0.0.1:1")
    check(finished, code=6, says=("no orchestrator answers at 127.0.0.1:1", "fleetfit up"))


def test_a_wrong_token_is_refused(fleetfit, server, tmp_path):
    (tmp_path / "token").write_text("ffo_wrong\n")
    check(fleetfit("device", "list", "--token-file", "token"), code=5, says=("this API token is not known",))


def test_a_token_from_the_environment_is_used(fleetfit, server, monkeypatch):
    monkeypatch.setenv("FLEETFIT_TOKEN", "ffo_wrong")
    check(fleetfit("device", "list"), code=5, says=("this API token is not known",))


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_token_file_without_a_token_is_refused(fleetfit, server, tmp_path, content):
    if content is not None:
        (tmp_path / "token").write_text(content)
    check(fleetfit("device", "list", "--token-file", "token"), code=2, says=("token file token",))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnauthenticatedError("the join token is used up", hint="make another"), 5),
        (ConflictError("there is a search digits already", hint="choose another --name"), 7),
    ],
)
def test_a_refusal_of_the_server_is_shown_as_it_was_said(fleetfit, server, workload, error, code):
    server.script.error = error
    check(fleetfit("search", "run", "digits.py", *RUN), code=code, says=(error.message, f"hint: {error.hint}"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("devise", "list"), ("no such command 'devise'; did you mean 'device'?",)),
        (("device", "lsit"), ("did you mean 'list'?", "fleetfit device --help")),
        (("device", "list", "--jsn"), ("--jsn", "fleetfit device list --help")),
        (("device", "show"), ("DEVICE",)),
        (("push", "digits"), ("--device",)),
        (("device", "label", "my-pi", "room"), ("'room' is not a label",)),
        (("join-token", "create", "--ttl", "15"), ("--ttl: '15' has no unit",)),
        (("device", "list", "-o", "xml"), ("xml",)),
    ],
)
def test_a_wrong_command_line_is_one_line_and_where_to_look(fleetfit, server, arguments, says):
    check(fleetfit(*arguments), code=2, says=says)
