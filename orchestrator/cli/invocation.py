"""The root of the commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version

import click

from orchestrator.cli.command import group
from orchestrator.cli.errors import print_error
from orchestrator.cli.options import CONNECTION
from orchestrator.cli.settings import Settings
from orchestrator.errors import FleetfitError, InvalidInputError

_COMMANDS = {
    "demo": ("orchestrator.cli.demo:demo", "Show the whole loop on this computer, in real processes."),
    "up": ("orchestrator.cli.up:up", "Run the orchestrator here."),
    "init": ("orchestrator.cli.init:init", "Write a commented workload to start from."),
    "status": ("orchestrator.cli.status:status", "What the orchestrator is and does now."),
    "join-token": ("orchestrator.cli.join_token:join_token", "Tokens with which devices join."),
    "device": ("orchestrator.cli.device:device", "The machines of the fleet."),
    "recipe": ("orchestrator.cli.recipe:recipe", "Ready-made recipes, and whether yours is right."),
    "compress": ("orchestrator.cli.compress:compress", "One recipe on one workload, here, without an orchestrator."),
    "search": ("orchestrator.cli.search:search", "Find the smallest model within the budgets."),
    "token": ("orchestrator.cli.token:token", "API tokens of people and scripts."),
    "audit": ("orchestrator.cli.audit:audit", "Who asked for which change."),
    "push": ("orchestrator.cli.push:push", "Release a search's winner and deliver it."),
    "release": ("orchestrator.cli.release:release", "Signed models."),
    "rollout": ("orchestrator.cli.rollout:rollout", "Deliveries of releases to devices."),
}

_EXAMPLE = """\
fleetfit demo                                         # the whole loop, here, in a few minutes
fleetfit up                                           # your own orchestrator
fleetfit search run digits.py --device my-pi --latency-p95 20ms --max-accuracy-drop 1%
fleetfit push digits --device my-pi"""


@group("fleetfit", commands_at=_COMMANDS, example=_EXAMPLE)
@click.version_option(version("fleetfit"), "-V", "--version", prog_name="fleetfit", message="%(prog)s %(version)s")
def fleetfit() -> None:
    """Fits a neural network to a fleet: compress, measure on the devices, choose the smallest, deliver it signed."""


for _option in CONNECTION:
    _option(fleetfit)


def invoke(arguments: Sequence[str]) -> int:
    """Runs one command line, and returns its exit code."""
    settings = Settings()
    try:
        result = fleetfit.main(list(arguments), prog_name="fleetfit", standalone_mode=False, obj=settings)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx is not None else "", err=True)
        return error.exit_code
    except click.ClickException as error:
        wrong = _from_click(error)
        print_error(wrong, as_json=settings.as_json, debug=settings.debug)
        return wrong.exit_code
    except FleetfitError as error:
        print_error(error, as_json=settings.as_json, debug=settings.debug)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except (BrokenPipeError, ModuleNotFoundError):
        raise
    except Exception as error:
        # Nothing above foresaw it: a fault of ours, said in one line, with the way to see all of it.
        if settings.debug:
            traceback.print_exc()
        print(f"error: this should not happen: {type(error).__name__}: {error}", file=sys.stderr)
        print("hint: run it again with --debug, and report what it prints", file=sys.stderr)
        return 1


def _from_click(error: click.ClickException) -> FleetfitError:
    """A mistake in the command line as our own error, so that it looks like every other one."""
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see '{error.ctx.command_path} --help'"
    return InvalidInputError(error.format_message().rstrip("."), hint=hint, reason="USAGE")
