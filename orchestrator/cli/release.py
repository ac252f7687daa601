"""``fleetfit release``: signed models."""

from __future__ import annotations

import json

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import COMMON
from orchestrator.cli.output import print_facts, print_json, print_table, tell, tell_next, time_text
from orchestrator.cli.settings import current_settings
from orchestrator.quantity import format_bytes

_COMMANDS = {
    "list": ("orchestrator.cli.release:list_", "Show the releases."),
    "show": ("orchestrator.cli.release:show", "Show a release and its signed manifest."),
    "create": ("orchestrator.cli.release:create", "Sign a trial's artifact, without delivering it."),
}


@group("release", commands_at=_COMMANDS, example="fleetfit release list")
def release() -> None:
    """Signed models with their manifests. A release never changes."""


@command("list", example="fleetfit release list", options=COMMON)
def list_() -> None:
    """Shows the releases."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        releases = client.list_releases()
    if settings.as_json:
        print_json(releases=releases)
        return
    print_table(
        ("RELEASE", "SIZE", "FORMAT", "ARTIFACT", "CREATED"),
        [
            (
                each.title,
                format_bytes(each.artifact_size_bytes),
                each.artifact_format,
                each.artifact_sha256[:12],
                time_text(each.created_at),
            )
            for each in releases
        ],
        empty="There are no releases. Make one of a search's winner: fleetfit push SEARCH --device SELECTOR",
    )


@command("show", example="fleetfit release show digits:1", options=COMMON)
@click.argument("title", metavar="NAME:VERSION")
def show(title: str) -> None:
    """Shows a release and its manifest as it was signed."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        found = client.get_release(title)
    if settings.as_json:
        print_json(release=found)
        return
    print_facts(
        {
            "release": found.title,
            "id": found.id,
            "artifact": f"sha256:{found.artifact_sha256}",
            "size": format_bytes(found.artifact_size_bytes),
            "format": found.artifact_format,
            "search": found.search_id,
            "trial": found.trial_id,
            "created": time_text(found.created_at),
            "manifest": f"{found.manifest_path} (sha256:{found.manifest_sha256})",
        }
    )
    print(json.dumps(json.loads(found.manifest_json), indent=2, ensure_ascii=False))


@command("create", example="fleetfit release create digits --trial 7 --version 2026.1", options=COMMON)
@click.argument("search")
@click.option(
    "--trial", "trial_number", type=click.IntRange(0), default=None, help="Its number; 0: baseline. [default: winner]"
)
@click.option("--name", default="", help="Name of the release. [default: the search's]")
@click.option("--version", default="", help="Its version. [default: the next of the name]")
def create(search: str, trial_number: int | None, name: str, version: str) -> None:
    """Signs the artifact of a search's winner, or of another trial, and publishes it for devices."""
    settings = current_settings()
    with settings.connect() as client:
        made = client.create_release(search, trial_number=trial_number, name=name, version=version)
    if settings.as_json:
        print_json(release=made)
    else:
        print(made.title)
    tell(f"Release {made.title} is signed: {format_bytes(made.artifact_size_bytes)}, {made.artifact_format}.")
    tell_next(f"fleetfit rollout create {made.title} --device SELECTOR")
