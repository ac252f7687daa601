"""``fleetfit search run`` and ``watch``: start a search, follow it, and say what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.command import command
from orchestrator.cli.comparison import no_winner, print_comparison
from orchestrator.cli.errors import InterruptedByUserError
from orchestrator.cli.live import display_for, follow
from orchestrator.cli.options import COMMON, Quantity, Seconds
from orchestrator.cli.output import (
    print_facts,
    print_json,
    print_json_line,
    stderr_console,
    stdout_console,
    tell,
    tell_next,
)
from orchestrator.cli.search import budget_texts
from orchestrator.cli.selection import selected_devices
from orchestrator.cli.settings import current_settings
from orchestrator.cli.spec_file import SpecFile, build_spec, read_recipes, read_spec_file
from orchestrator.cli.workload_file import read_workload
from orchestrator.client import Client, Search
from orchestrator.errors import OperationError
from orchestrator.quantity import format_bytes, parse_bytes, parse_duration_s, parse_energy_j, parse_fraction
from orchestrator.search.search import SearchState
from orchestrator.search.spec import SearchSpec

_EXAMPLE = """\
fleetfit search run digits.py --device my-pi --latency-p95 20ms --size 100kB --max-accuracy-drop 1%
fleetfit search run search.yaml --time-limit 30m"""

_DURATION = Quantity(parse_duration_s, "duration")
_ENERGY = Quantity(parse_energy_j, "energy")
_SIZE = Quantity(parse_bytes, "size")
_SHARE = Quantity(parse_fraction, "share")


@command("run", example=_EXAMPLE, options=COMMON)
@click.argument("target", metavar="WORKLOAD.py|SPEC.yaml", type=click.Path(path_type=Path))
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="SELECTOR",
    help="Who measures: a name, label=value, class=… or name=glob*. Can be given several times.",
)
@click.option("--latency-p95", type=_DURATION, help="Budget: 95 of 100 inferences are as fast, for example 20ms.")
@click.option("--energy", type=_ENERGY, help="Budget for one inference, for example 15mJ.")
@click.option("--memory", type=_SIZE, help="Budget: peak memory of the process that runs it, for example 64MiB.")
@click.option("--size", type=_SIZE, help="Budget for the file, for example 100kB.")
@click.option("--accuracy", type=_SHARE, help="Floor of the workload's metric, for example 97%.")
@click.option("--max-accuracy-drop", type=_SHARE, help="Largest drop from the baseline, for example 1%.")
@click.option("--name", help="Name of the search. [default: the workload's]")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Try these recipes only. Can be given several times.",
)
@click.option("--format", "formats", multiple=True, metavar="FORMAT", help="onnx or tflite. [default: onnx]")
@click.option("--time-limit", type=_DURATION, help="End the search after this long, for example 30m.")
@click.option("--max-trials", type=int, help="End the search after so many trials.")
@click.option("--sampler", help="Who chooses the next candidate. [default: measure-first]")
@click.option("--seed", type=int, help="Seed of every random choice.")
@click.option("--parallel", type=int, help="How many trials go on at once. [default: what Ray has room for]")
@click.option("--dry-run", is_flag=True, help="Check everything, show what would be asked, and start nothing.")
@click.option("--detach", is_flag=True, help="Start it and return at once.")
def run(target: Path, dry_run: bool, detach: bool, **options: Any) -> None:
    """Searches the smallest model that holds every budget on the devices.

    Ctrl-C stops the watching, not the search. Exits with 3 when nothing meets every budget.
    """
    settings = current_settings()
    file = read_spec_file(target) if target.suffix in (".yaml", ".yml") else None
    workload = file.workload if file is not None else target
    source = read_workload(workload)
    spec = build_spec(_of_options(options, workload, file), file)
    with settings.connect() as client:
        if dry_run:
            _show_plan(client, spec, workload, as_json=settings.as_json)
            return
        started = client.create_search(workload, spec, source=source)
        if detach:
            _show_started(started, as_json=settings.as_json)
            return
        tell(f"Search {started.name} ({started.id}) has started: {', '.join(budget_texts(started.budgets))}.")
        conclude(watched(client, started, as_json=settings.as_json), as_json=settings.as_json)


@command("watch", example="fleetfit search watch digits", options=COMMON)
@click.argument("name", metavar="SEARCH")
@click.option("--timeout", type=Seconds(), default=None, help="Stop watching after this long (exit 8).")
def watch(name: str, timeout: float | None) -> None:
    """Follows a search until it ends. Exits with 3 when nothing met every budget."""
    settings = current_settings()
    with settings.connect() as client:
        found = client.get_search(name)
        conclude(watched(client, found, as_json=settings.as_json, timeout_s=timeout), as_json=settings.as_json)


def watched(client: Client, search: Search, *, as_json: bool = False, timeout_s: float | None = None) -> Search:
    """The search after it has ended, shown on the terminal until then.

    Raises:
        InterruptedByUserError: The user pressed Ctrl-C; the search goes on.
        DeadlineError: It goes on after ``timeout_s``.
    """
    try:
        snapshots = client.watch_search(search.id, timeout_s=timeout_s)
        follow(snapshots, display_for(stderr_console(), as_json=as_json), search)
        return client.get_search(search.id)
    except KeyboardInterrupt as interrupt:
        raise InterruptedByUserError(
            f"stopped watching; search {search.name} goes on",
            hint=f"watch it again: fleetfit search watch {search.name}; end it: fleetfit search cancel {search.name}",
        ) from interrupt


def conclude(search: Search, *, as_json: bool = False) -> None:
    """Shows what came of a search that has ended.

    Raises:
        NoFeasibleModelError: Nothing met every budget.
        OperationError: It failed or was cancelled.
    """
    if as_json:
        print_json_line(event="end", search=search)
    else:
        shown = search.best or search.closest
        if shown is not None:
            print_comparison(stdout_console(), search, shown, title="winner" if search.best is not None else "closest")
    if search.state is SearchState.INFEASIBLE:
        raise no_winner(search)
    if search.state is SearchState.FAILED:
        raise OperationError(
            f"search {search.name} failed: {search.reason}", hint=f"see fleetfit search show {search.name}"
        )
    if search.state is SearchState.CANCELLED:
        raise OperationError(f"search {search.name} was cancelled", reason="SEARCH_CANCELLED")
    tell(f"{search.training_count} trainings and {search.measurement_count} measurements were made.")
    tell_next(f"fleetfit push {search.name} --device {search.devices[0] if search.devices else 'SELECTOR'}")


def _of_options(options: Mapping[str, Any], workload: Path, file: SpecFile | None) -> dict[str, Any]:
    """The options as keys of the spec; None and empty ones were not given."""
    name = options["name"]
    if name is None and (file is None or "name" not in file.content):
        name = re.sub(r"[^a-z0-9]+", "-", workload.stem.lower()).strip("-")[:63].strip("-") or None
    return {
        "name": name,
        "devices": options["devices"] or None,
        "budgets": {
            "latency_p95": options["latency_p95"],
            "energy": options["energy"],
            "memory": options["memory"],
            "size": options["size"],
            "accuracy": options["accuracy"],
            "accuracy_drop": options["max_accuracy_drop"],
        },
        "recipes": tuple(read_recipes(options["recipes"])) or None,
        "formats": options["formats"] or None,
        **{key: options[key] for key in ("time_limit", "max_trials", "sampler", "seed", "parallel")},
    }


def _show_plan(client: Client, spec: SearchSpec, workload: Path, *, as_json: bool) -> None:
    devices = {}
    for selector in spec.devices:
        devices.update({device.name: device for device in selected_devices(client, selector)})
    if as_json:
        print_json(workload=str(workload), spec=spec.model_dump(mode="json"), devices=sorted(devices))
        return
    print_facts(
        {
            "search": spec.name,
            "workload": f"{workload} ({format_bytes(workload.stat().st_size)})",
            "devices": ", ".join(
                f"{name}{'' if device.online else ' (offline)'}" for name, device in sorted(devices.items())
            ),
            "budgets": ", ".join(budget_texts(spec.budgets.budgets())),
            "recipes": str(len(spec.recipes)) if spec.recipes else "chosen by the sampler from the default space",
            "sampler": spec.sampler,
            "formats": ", ".join(spec.formats),
            "at most": f"{spec.max_trials} trials" + (f", {spec.time_limit}" if spec.time_limit else ""),
        }
    )
    tell("Nothing was started: leave out --dry-run to start it.")


def _show_started(search: Search, *, as_json: bool) -> None:
    if as_json:
        print_json(search=search)
    else:
        print(search.id)
    tell(f"Search {search.name} has started.")
    tell_next(f"fleetfit search watch {search.name}")
