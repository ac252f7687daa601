"""``fleetfit demo``: the whole loop on this computer, in real processes."""

from __future__ import annotations

import signal
from pathlib import Path

import click

from orchestrator.cli.command import command
from orchestrator.cli.demo_stage import Stage
from orchestrator.cli.demo_story import tell_story
from orchestrator.cli.errors import InterruptedByUserError
from orchestrator.cli.options import DEBUG
from orchestrator.cli.output import stdout_console
from orchestrator.cli.processes import stopped_at_the_end
from orchestrator.config import default_data_dir


@command("demo", example="fleetfit demo", options=DEBUG)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Where its state lies; used again the next time. [default: that of 'fleetfit up']",
)
@click.option("--keep", is_flag=True, help="Leave orchestrator and device running at the end, until Ctrl-C.")
def demo(data_dir: Path | None, keep: bool) -> None:
    """Shows the whole loop on this computer: a device joins, a search finds the smallest model, and it is delivered.

    All of it is real: an orchestrator and a device agent as processes of their own, training, measuring, signing. It
    leaves no process behind, and what it learnt stays for the next run.
    """
    console = stdout_console()
    stage = Stage(console=console, root=(data_dir or default_data_dir()).absolute())
    try:
        with stopped_at_the_end() as children:
            tell_story(stage, children)
            if keep:
                console.print("Orchestrator and device go on running; Ctrl-C ends them.", style="dim")
                signal.pause()
    except KeyboardInterrupt as interrupt:
        raise InterruptedByUserError(
            "interrupted; orchestrator and device are stopped",
            hint="'fleetfit demo' begins with the state that it left",
        ) from interrupt
