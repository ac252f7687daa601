"""``fleetfit rollout``: deliveries of releases to devices."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.delivery import follow, print_rollout
from orchestrator.cli.options import COMMON, Seconds
from orchestrator.cli.output import print_json, print_table, tell, tell_next, time_text
from orchestrator.cli.rollout_plan import plan_of, with_plan
from orchestrator.cli.settings import current_settings
from orchestrator.client import Rollout
from orchestrator.rollouts.rollout import DeploymentState

_COMMANDS = {
    "list": ("orchestrator.cli.rollout:list_", "Show the rollouts."),
    "show": ("orchestrator.cli.rollout:show", "Show where each device of a rollout is."),
    "watch": ("orchestrator.cli.rollout:watch", "Follow a rollout until it ends."),
    "create": ("orchestrator.cli.rollout:create", "Deliver a release to devices."),
    "pause": ("orchestrator.cli.rollout:pause", "Start nothing more; devices that have begun finish."),
    "resume": ("orchestrator.cli.rollout:resume", "Go on; what failed so far counts no more."),
    "abort": ("orchestrator.cli.rollout:abort", "End a rollout; devices that have begun finish."),
    "retry": ("orchestrator.cli.rollout:retry", "Deliver again to the devices that failed."),
    "rollback": ("orchestrator.cli.rollout:rollback", "Take devices back to what they ran before."),
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
        ("ID", "RELEASE", "TO", "STATE", "WAVE", "ACTIVE", "STARTED", "REASON"),
        [
            (
                each.id,
                each.release,
                each.selector,
                each.state.value,
                f"{each.wave}/{max((part.wave for part in each.deployments), default=1)}",
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
    """Follows a rollout until it ends or is paused. Exits with 9 when it failed, was aborted, or is paused."""
    settings = current_settings()
    with settings.connect() as client:
        follow(client, client.get_rollout(rollout_id), as_json=settings.as_json, timeout_s=timeout)


@command(
    "create", example="fleetfit rollout create digits:1 --device room=lab --waves 1,10%,100% --soak 1h", options=COMMON
)
@click.argument("release", metavar="NAME:VERSION")
@click.option(
    "--device",
    "selector",
    required=True,
    metavar="SELECTOR",
    help="Device name, label=value, class=… or name=glob*, joined by commas; or 'all'.",
)
@with_plan
@click.option("--detach", is_flag=True, help="Start it and return at once.")
@click.option("--timeout", type=Seconds(), default=None, help="Stop watching after this long (exit 8).")
def create(release: str, selector: str, detach: bool, timeout: float | None, **plan: Any) -> None:
    """Delivers a release to devices and follows it until it ends or is paused."""
    settings = current_settings()
    chosen = plan_of(plan)
    with settings.connect() as client:
        started = client.create_rollout(release, selector=selector, plan=chosen)
        if not detach:
            follow(client, started, as_json=settings.as_json, timeout_s=timeout)
            return
    if settings.as_json:
        print_json(rollout=started)
    else:
        print(started.id)
    tell(f"Rollout {started.id} of {started.release} has started.")
    tell_next(f"fleetfit rollout watch {started.id}")


@command("pause", example="fleetfit rollout pause r-7f3a", options=COMMON)
@click.argument("rollout_id", metavar="ID")
def pause(rollout_id: str) -> None:
    """Starts nothing more; devices that have begun finish."""
    with current_settings().connect() as client:
        _print_changed(client.pause_rollout(rollout_id))
    tell_next(f"fleetfit rollout resume {rollout_id}")


@command("resume", example="fleetfit rollout resume r-7f3a", options=COMMON)
@click.argument("rollout_id", metavar="ID")
def resume(rollout_id: str) -> None:
    """Goes on after a pause. Where failures had caused it, they count no more."""
    with current_settings().connect() as client:
        _print_changed(client.resume_rollout(rollout_id))
    tell_next(f"fleetfit rollout watch {rollout_id}")


@command("abort", example="fleetfit rollout abort r-7f3a", options=COMMON)
@click.argument("rollout_id", metavar="ID")
def abort(rollout_id: str) -> None:
    """Ends a rollout: devices that have not begun keep what they have, the others finish and are counted."""
    with current_settings().connect() as client:
        _print_changed(client.abort_rollout(rollout_id))


@command("retry", example="fleetfit rollout retry r-7f3a", options=COMMON)
@click.argument("rollout_id", metavar="ID")
def retry(rollout_id: str) -> None:
    """Delivers the same release once more to the devices that failed, as a rollout of its own."""
    with current_settings().connect() as client:
        started = client.retry_rollout(rollout_id)
    _print_changed(started)
    tell_next(f"fleetfit rollout watch {started.id}")


@command("rollback", example="fleetfit rollout rollback r-7f3a", options=COMMON)
@click.argument("rollout_id", metavar="ID")
def rollback(rollout_id: str) -> None:
    """Takes the devices that run the release back to what they ran before, which is signed anew.

    Devices that ran nothing before keep what they have.
    """
    settings = current_settings()
    with settings.connect() as client:
        started = client.roll_back_rollout(rollout_id)
    if settings.as_json:
        print_json(rollouts=started)
    for each in started:
        if not settings.as_json:
            print(each.id)
        tell(f"Rollout {each.id} takes {len(each.deployments)} devices to {each.release}.")
        tell_next(f"fleetfit rollout watch {each.id}")


def _print_changed(rollout: Rollout) -> None:
    if current_settings().as_json:
        print_json(rollout=rollout)
    else:
        print_rollout(rollout)


def _active_text(rollout: Rollout) -> str:
    active = sum(each.state is DeploymentState.ACTIVE for each in rollout.deployments)
    return f"{active}/{len(rollout.deployments)}"
