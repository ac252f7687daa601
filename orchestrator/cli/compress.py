"""``fleetfit compress``: one recipe on one workload, here, without an orchestrator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.command import command
from orchestrator.cli.compress_progress import progress_for
from orchestrator.cli.figures import format_share
from orchestrator.cli.options import DEBUG, JSON
from orchestrator.cli.output import print_facts, print_json, print_table, stderr_console, tell_next, write_file
from orchestrator.cli.pipelines_errors import as_fleetfit_errors
from orchestrator.cli.recipe import find_recipe
from orchestrator.cli.settings import current_settings
from orchestrator.errors import OperationError
from orchestrator.quantity import format_bytes, format_duration

if TYPE_CHECKING:
    from pipelines.compress import Variant
    from pipelines.passes import Figures

_EXAMPLE = """\
fleetfit compress digits.py --recipe half-int8 -o out/
fleetfit compress digits.py --recipe my-recipe.yaml -o out/ --baseline out/baseline.pt"""

_BASELINE = "baseline.pt"


@command("compress", example=_EXAMPLE, options=(JSON, *DEBUG))
@click.argument("workload", metavar="WORKLOAD.py", type=click.Path(path_type=Path))
@click.option("--recipe", "recipe_name", required=True, metavar="FILE|NAME", help="A recipe file or a ready-made one.")
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the model, its golden outputs and the trained baseline go.",
)
@click.option(
    "--baseline",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A baseline.pt that an earlier run wrote, so that nothing is trained twice.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of every random choice.")
def compress(workload: Path, recipe_name: str, out: Path, baseline: Path | None, seed: int) -> None:
    """Makes a small model of a workload with one recipe, on this computer.

    The workload's code runs here. The same workload, recipe and seed give the same file on the same machine.
    """
    settings = current_settings()
    recipe = find_recipe(recipe_name)
    checkpoint = None if baseline is None else _read(baseline)
    with as_fleetfit_errors(), progress_for(stderr_console()) as observer:
        # PyTorch takes seconds to load: not for the help, and not for a recipe that is wrong.
        import pipelines  # noqa: PLC0415

        loaded = pipelines.load_workload(workload)
        if checkpoint is None:
            checkpoint = pipelines.train_baseline(loaded, seed=seed, observer=observer).checkpoint
            _make(out)
            write_file(out / _BASELINE, checkpoint)
        variant = pipelines.compress(loaded, recipe, baseline=checkpoint, seed=seed, observer=observer)
    _make(out)
    model = out / f"model.{variant.format}"
    write_file(model, variant.artifact)
    write_file(out / "golden.npz", variant.golden)
    if settings.as_json:
        print_json(file=model, recipe=recipe.model_dump(mode="json"), **_summary(variant))
        return
    _print_passes(variant)
    print_facts(
        {
            "file": str(model),
            "size": format_bytes(variant.size_bytes),
            "packed": f"{format_bytes(variant.delivered_bytes)} with xz",
            "metric": "" if variant.accuracy is None else format_share(variant.accuracy),
            "training": format_duration(variant.train_s) if variant.train_s else "none",
        }
    )
    for report in variant.passes:
        for remark in report.remarks:
            print(f"{report.title}: {remark}")
    if baseline is None:
        tell_next(f"fleetfit compress {workload} --recipe RECIPE -o {out} --baseline {out / _BASELINE}")


def _print_passes(variant: Variant) -> None:
    rows = [
        [
            report.title,
            _change(f"{report.before.parameters:,}", f"{report.after.parameters:,}"),
            _change(f"{report.before.macs:,}", f"{report.after.macs:,}"),
            _change(format_bytes(report.before.weight_bytes), format_bytes(report.after.weight_bytes)),
            _change(_metric(report.before), _metric(report.after)),
        ]
        for report in variant.passes
    ]
    print_table(["PASS", "PARAMETERS", "MACS", "WEIGHTS", "METRIC"], rows, empty="The recipe has no passes.")


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} to {after}"


def _metric(figures: Figures) -> str:
    return "-" if figures.accuracy is None else format_share(figures.accuracy)


def _summary(variant: Variant) -> dict[str, Any]:
    names = ("sha256", "size_bytes", "delivered_bytes", "structure_sha256", "accuracy", "train_s", "passes")
    return {name: getattr(variant, name) for name in names}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OperationError(f"the baseline {path} cannot be read: {error.strerror}") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"the directory {folder} cannot be made: {error.strerror}"
        raise OperationError(message, hint="name another place with --out") from error
