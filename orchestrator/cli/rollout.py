"""``fleetfit rollout``: deliveries of releases to devices."""

from __future__ import annotations

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.delivery import follow, print_rollout
from orchestrator.cli.options import COMMON, Seconds
from orchestrator.cli.output import print_json, print_table, tell, tell_next, time_text
from orchestrator.cli.settings import current_settings
from orchestrator.client import Rollout
from orchestrator.rollouts.rollout import DeploymentState

_COMMANDS = {
    "list": ("orchestrator.cli.rollout:list_", "Show the rollouts."),
    "show": ("orchestrator.cli.rollout:show", "Show where each device of a rollout is."),
    "watch": ("orchestrator.cli.rollout:watch", "Follow a rollout until it ends."),
    "create": ("orchestrator.cli.rollout:create", "Deliver a release to devices."),
}


@group("rollout", commands_at=_COMMANDS, example="fleetfit rollout list")
def rollout() -> None:
    """Deliveries of releases to devices. Only a device that really runs the release counts as success."""


@command("list", example="fleetfit rollout list", options=COMMON)
def list_() -> None:
    """Shows the rollouts."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        rollouts = client.list_rollouts()
    if settings.as_json:
        print_json(rollouts=rollouts)
        return
    print_table(
        ("ID", "RELEASE", "TO", "STATE", "ACTIVE", "STARTED", "REASON"),
        [
            (
                each.id,
                each.release,
                each.selector,
                each.state.value,
                _active_text(each),
                time_text(each.created_at),
                each.reason,
            )
            for each in rollouts
        ],
        empty="There are no rollouts. Start one: fleetfit push SEARCH --device SELECTOR",
    )


@command("show", example="fleetfit rollout show r-7f3a", options=COMMON)
@click.argument("rollout_id", metavar="ID")
def show(rollout_id: str) -> None:
    """Shows where each device of a rollout is."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        found = client.get_rollout(rollout_id)
    if settings.as_json:
        print_json(rollout=found)
    else:
        print_rollout(found)


@command("watch", example="fleetfit rollout watch r-7f3a --timeout 10m", options=COMMON)
@click.argument("rollout_id", metavar="ID")
@click.option("--timeout", type=Seconds(), default=None, help="Stop watching after this long (exit 8).")
def watch(rollout_id: str, timeout: float | None) -> None:
    """Follows a rollout until it ends. Exits with 9 when a device refused, failed or went back."""
    settings = current_settings()
    with settings.connect() as client:
        follow(client, client.get_rollout(rollout_id), as_json=settings.as_json, timeout_s=timeout)


@command("create", example="fleetfit rollout create digits:1 --device room=lab --detach", options=COMMON)
@click.argument("release", metavar="NAME:VERSION")
@click.option(
    "--device",
    "selector",
    required=True,
    metavar="SELECTOR",
    help="Device name, label=value, class=… or name=glob*, joined by commas; or 'all'.",
)
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--timeout", type=Seconds(), default=None, help="Stop watching after this long (exit 8).")
def create(release: str, selector: str, detach: bool, timeout: float | None) -> None:
    """Delivers a release to devices and follows it until it ends."""
    settings = current_settings()
    with settings.connect() as client:
        started = client.create_rollout(release, selector=selector)
        if not detach:
            follow(client, started, as_json=settings.as_json, timeout_s=timeout)
            return
    if settings.as_json:
        print_json(rollout=started)
    else:
        print(started.id)
    tell(f"Rollout {started.id} of {started.release} has started.")
    tell_next(f"fleetfit rollout watch {started.id}")


def _active_text(rollout: Rollout) -> str:
    active = sum(each.state is DeploymentState.ACTIVE for each in rollout.deployments)
    return f"{active}/{len(rollout.deployments)}"
