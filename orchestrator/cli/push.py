"""``fleetfit push``: release a search's winner and deliver it."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.command import command
from orchestrator.cli.delivery import follow
from orchestrator.cli.options import COMMON, Seconds
from orchestrator.cli.output import print_json, tell, tell_next
from orchestrator.cli.rollout_plan import plan_of, with_plan
from orchestrator.cli.selection import selected_devices
from orchestrator.cli.settings import current_settings
from orchestrator.quantity import format_bytes


@command("push", example="fleetfit push digits --device my-pi", options=COMMON)
@click.argument("search")
@click.option(
    "--device",
    "selector",
    required=True,
    metavar="SELECTOR",
    help="Device name, label=value, class=… or name=glob*, joined by commas; or 'all'.",
)
@click.option(
    "--trial", "trial_number", type=click.IntRange(0), default=None, help="Its number; 0: baseline. [default: winner]"
)
@click.option("--name", default="", help="Name of the release. [default: the search's]")
@click.option("--version", default="", help="Its version. [default: the next of the name]")
@with_plan
@click.option("--detach", is_flag=True, help="Start the delivery and return at once.")
@click.option("--timeout", type=Seconds(), default=None, help="Stop watching after this long (exit 8).")
def push(
    search: str,
    selector: str,
    trial_number: int | None,
    name: str,
    version: str,
    detach: bool,
    timeout: float | None,
    **plan: Any,
) -> None:
    """Signs a search's winner, delivers it to devices, and waits until they run it.

    All devices at once, unless --waves says otherwise. Exits with 9 when the delivery fails or is paused.
    """
    settings = current_settings()
    chosen = plan_of(plan)
    with settings.connect() as client:
        # A release that nobody can receive would only be in the way.
        selected_devices(client, selector)
        release = client.create_release(search, trial_number=trial_number, name=name, version=version)
        tell(f"Release {release.title} is signed: {format_bytes(release.artifact_size_bytes)}.")
        started = client.create_rollout(release.id, selector=selector, plan=chosen)
        if not detach:
            follow(client, started, as_json=settings.as_json, timeout_s=timeout)
            tell_next("fleetfit device list")
            return
    if settings.as_json:
        print_json(release=release, rollout=started)
    else:
        print(started.id)
    tell_next(f"fleetfit rollout watch {started.id}")
