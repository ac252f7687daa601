"""``fleetfit init``: write a commented workload to start from."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.command import command
from orchestrator.cli.options import DEBUG
from orchestrator.cli.output import tell_next
from orchestrator.errors import ConflictError, OperationError


@command("init", example="fleetfit init my_workload.py", options=DEBUG)
@click.argument("path", metavar="[FILE]", type=click.Path(path_type=Path), default=Path("workload.py"))
def init(path: Path) -> None:
    """Writes a commented workload, by itself to workload.py: one class with the model, its data, and its metric."""
    content = example_workload().read_bytes()
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError as error:
        raise ConflictError(f"{path} is there already, and is left as it is", hint="name another file") from error
    except OSError as error:
        raise OperationError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error
    print(path)
    tell_next(f"fleetfit search run {path} --device DEVICE --latency-p95 20ms --max-accuracy-drop 1%")


def example_workload() -> Path:
    """The digits example: in a wheel beside this file, in a checkout among the examples."""
    packaged = Path(__file__).parent / "examples" / "digits.py"
    return packaged if packaged.is_file() else Path(__file__).parents[2] / "examples" / "digits.py"
