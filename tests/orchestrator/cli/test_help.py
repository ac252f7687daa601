import shlex
import subprocess
import sys

import click
import pytest

from orchestrator.cli.command import Command, Group
from orchestrator.cli.invocation import fleetfit as root


def commands(group: Group, path: tuple[str, ...] = ()):
    """Every command with the words that lead to it."""
    with click.Context(group) as context:
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            if isinstance(found, Group):
                yield (*path, name), found
                yield from commands(found, (*path, name))
            else:
                yield (*path, name), found


ALL = dict(commands(root))
LEAVES = {path: command for path, command in ALL.items() if isinstance(command, Command)}


def test_every_verb_of_the_design_is_there():
    expected = """
        up, demo, init, status, push,
        join-token create, join-token list, join-token revoke,
        device list, device show, device label, device remove,
        search run, search list, search show, search watch, search cancel, search report, search download,
        recipe list, recipe show, recipe validate, compress,
        release list, release show, release create,
        rollout list, rollout show, rollout watch, rollout create,
        rollout pause, rollout resume, rollout abort, rollout retry, rollout rollback,
        audit list, audit verify, token create, token list, token revoke
    """
    assert {tuple(words.split()) for words in expected.split(",")} <= LEAVES.keys()


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_begins_with_what_it_does_and_an_example(fleetfit, path):
    out = fleetfit(*path, "--help").out
    assert out.index("Example:") < out.index("Usage:")
    assert out.split("Example:")[0].strip()
    assert f"fleetfit {' '.join(path)}" in out.split("Example:")[1].split("Usage:")[0]
    assert fleetfit(*path, "-h").out == out


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_example_can_be_typed_as_it_stands(path):
    for line in LEAVES[path].example.splitlines():
        words = shlex.split(line, comments=True)
        assert words[: len(path) + 1] == ["fleetfit", *path]
        with root.make_context("fleetfit", words[1:], resilient_parsing=False) as context:
            command, rest = root, words[1:]
            for _ in path:
                _, command, rest = command.resolve_command(context, rest)
            command.make_context(command.name, rest, parent=context)


NO_SERVER = ("init", "demo", "up", "recipe", "compress")


@pytest.mark.parametrize("path", [path for path in LEAVES if path[0] not in NO_SERVER], ids=" ".join)
def test_every_command_that_prints_takes_json_and_the_server(path):
    names = {name for parameter in LEAVES[path].params for name in parameter.opts}
    assert {"--json", "-o", "--server", "--token-file", "--ca", "--data-dir", "--debug"} <= names


def test_the_lines_of_a_groups_help_are_for_commands_that_exist():
    for path, group in [((), root), *((path, each) for path, each in ALL.items() if isinstance(each, Group))]:
        for name, (where, line) in group.commands_at.items():
            assert ALL[(*path, name)].name == name, where
            assert line.endswith(".")


def run_and_list_modules(*arguments: str) -> set[str]:
    program = (
        f"import sys; from orchestrator.cli.entry import run\nrun({list(arguments)!r})\nprint('modules:', *sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(finished.stdout.rpartition("modules:")[2].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("device", "list"), ("search", "--help"), ("search", "list"), ("push", "--help")]
)
def test_quick_commands_load_neither_ray_nor_torch_nor_a_database(server, arguments):
    modules = run_and_list_modules(*arguments)
    assert not {"ray", "torch", "numpy", "sqlalchemy", "onnx"} & modules


def test_the_roots_help_does_not_even_load_what_commands_need():
    assert not {"orchestrator.cli.search", "orchestrator.cli.demo", "orchestrator.cli.live"} & run_and_list_modules(
        "-h"
    )
