"""``fleetfit search``: the searches that there are, and what they found."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.comparison import print_comparison
from orchestrator.cli.figures import figure, format_limit
from orchestrator.cli.live import print_trials
from orchestrator.cli.options import COMMON
from orchestrator.cli.output import (
    print_facts,
    print_json,
    print_table,
    stdout_console,
    tell,
    tell_next,
    time_text,
    write_file,
)
from orchestrator.cli.settings import current_settings
from orchestrator.client import Search
from orchestrator.quantity import format_bytes
from orchestrator.search.budget import Budgets

_COMMANDS = {
    "run": ("orchestrator.cli.search_run:run", "Start a search and follow it."),
    "list": ("orchestrator.cli.search:list_", "Show the searches."),
    "show": ("orchestrator.cli.search:show", "Show a search with all its trials."),
    "watch": ("orchestrator.cli.search_run:watch", "Follow a search until it ends."),
    "cancel": ("orchestrator.cli.search:cancel", "End a search; what was found stays."),
    "report": ("orchestrator.cli.search:report", "Write the HTML report."),
    "download": ("orchestrator.cli.search:download", "Write the winner's file, or another trial's."),
}


@group(
    "search",
    commands_at=_COMMANDS,
    example="fleetfit search run digits.py --device my-pi --latency-p95 20ms --max-accuracy-drop 1%",
)
def search() -> None:
    """Find the smallest model that holds every budget on the devices that will run it."""


@command("list", example="fleetfit search list", options=COMMON)
def list_() -> None:
    """Shows the searches."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        searches = client.list_searches()
    if settings.as_json:
        print_json(searches=searches)
        return
    print_table(
        ("NAME", "ID", "STATE", "DEVICES", "TRAININGS", "MEASUREMENTS", "STARTED", "REASON"),
        [
            (
                each.name,
                each.id,
                each.state.value,
                ", ".join(each.devices),
                str(each.training_count),
                str(each.measurement_count),
                time_text(each.created_at),
                each.reason,
            )
            for each in searches
        ],
        empty="There are no searches. Start one: fleetfit search run WORKLOAD --device DEVICE",
    )


@command("show", example="fleetfit search show digits", options=COMMON)
@click.argument("name", metavar="SEARCH")
def show(name: str) -> None:
    """Shows a search with all its trials, and why each of them ended."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        found = client.get_search(name)
    if settings.as_json:
        print_json(search=found)
        return
    print_facts(_facts(found))
    console = stdout_console()
    if found.trials:
        console.print()
        print_trials(console, found)
    shown = found.best or found.closest
    if shown is not None:
        console.print()
        print_comparison(console, found, shown, title="winner" if found.best is not None else "closest")


@command("cancel", example="fleetfit search cancel digits", options=COMMON)
@click.argument("name", metavar="SEARCH")
def cancel(name: str) -> None:
    """Ends a search. What was found so far stays."""
    settings = current_settings()
    with settings.connect() as client:
        ended = client.cancel_search(name)
    if settings.as_json:
        print_json(search=ended)
    tell(f"Search {ended.name} is {ended.state.value}.")
    tell_next(f"fleetfit search show {ended.name}")


@command("report", example="fleetfit search report digits --to digits.html", options=COMMON)
@click.argument("name", metavar="SEARCH")
@click.option(
    "--to", "target", metavar="FILE", default=None, help="Where to, '-' for stdout. [default: NAME-report.html]"
)
def report(name: str, target: str | None) -> None:
    """Writes a search's report: one HTML file that needs nothing else."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        html = client.search_report(name)
    if target == "-":
        click.echo(html)
        return
    path = Path(target or f"{name}-report.html")
    write_file(path, html.encode())
    if settings.as_json:
        print_json(path=str(path.resolve()), size_bytes=len(html.encode()))
    else:
        print(path)
    tell(f"The report of {name} is written; open it in a browser.")


@command("download", example="fleetfit search download digits --to model.onnx", options=COMMON)
@click.argument("name", metavar="SEARCH")
@click.option(
    "--trial", "trial_number", type=click.IntRange(0), default=None, help="Its number; 0: baseline. [default: winner]"
)
@click.option(
    "--to",
    "target",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=None,
    help="Where to. [default: NAME.onnx or NAME.tflite]",
)
def download(name: str, trial_number: int | None, target: Path | None) -> None:
    """Writes the file that a device runs, held against its hash."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        artifact = client.download_artifact(name, trial_number=trial_number)
    path = target or Path(f"{name}.{artifact.format}")
    write_file(path, artifact.data)
    if settings.as_json:
        print_json(
            path=str(path.resolve()),
            size_bytes=artifact.size_bytes,
            sha256=artifact.sha256,
            format=artifact.format,
        )
    else:
        print(path)
    tell(f"{format_bytes(artifact.size_bytes)}, sha256:{artifact.sha256}")


def _facts(search: Search) -> dict[str, str]:
    return {
        "search": search.name,
        "id": search.id,
        "state": search.state.value,
        "reason": search.reason,
        "workload": search.workload_filename,
        "devices": ", ".join(search.devices),
        "budgets": ", ".join(budget_texts(search.budgets)),
        "trainings": str(search.training_count),
        "measurements": str(search.measurement_count),
        "started": time_text(search.created_at),
        "ended": time_text(search.finished_at),
        "winner": _winner(search),
    }


def budget_texts(budgets: Budgets) -> list[str]:
    """The budgets for people, in the order of their cost."""
    limits = {
        "size_bytes": budgets.size_bytes,
        "latency_p95_ms": budgets.latency_p95_ms,
        "energy_mj": budgets.energy_mj,
        "memory_bytes": budgets.memory_bytes,
        "accuracy": budgets.accuracy,
    }
    names = {"size_bytes": "size", "latency_p95_ms": "latency p95", "energy_mj": "energy", "memory_bytes": "memory"}
    texts = [
        f"{names.get(name, name)} {format_limit(name, limit)}" for name, limit in limits.items() if limit is not None
    ]
    if budgets.accuracy_drop is not None:
        points = 100 * budgets.accuracy_drop
        texts.append(f"accuracy drop ≤ {points:g} {'point' if points == 1 else 'points'}")
    return texts


def _winner(search: Search) -> str:
    if search.best is None:
        return ""
    size = figure(search.best, "size_bytes")
    return f"trial {search.best.number} ({search.best.title})" + (f", {size.text}" if size is not None else "")
