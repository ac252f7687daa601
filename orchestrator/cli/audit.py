"""``fleetfit audit``: who asked for which change."""

from __future__ import annotations

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import COMMON
from orchestrator.cli.output import print_json, print_table, tell, time_text
from orchestrator.cli.settings import current_settings
from orchestrator.errors import OperationError

_COMMANDS = {
    "list": ("orchestrator.cli.audit:list_", "Show who asked for which change."),
    "verify": ("orchestrator.cli.audit:verify", "Check that nothing in the log was altered."),
}


@group("audit", commands_at=_COMMANDS, example="fleetfit audit list")
def audit() -> None:
    """The log of every change that somebody asked for: append-only, and chained by hashes."""


@command("list", example="fleetfit audit list --limit 20", options=COMMON)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The newest so many.")
def list_(limit: int) -> None:
    """Shows who asked for which change, oldest first."""
    settings = current_settings()
    with settings.connect() as client:
        entries = client.list_audit_entries(limit=limit)
    if settings.as_json:
        print_json(entries=entries)
        return
    print_table(
        ("NUMBER", "TIME", "WHO", "CALL", "WITH", "OUTCOME"),
        [
            (str(each.number), time_text(each.recorded_at), each.actor, each.method, each.parameters, each.outcome)
            for each in entries
        ],
        empty="Nothing was recorded yet.",
    )


@command("verify", example="fleetfit audit verify", options=COMMON)
def verify() -> None:
    """Checks that no entry was altered, removed or put in between. Exits with 1 where one was.

    Entries cut off at the end leave no trace: keep the last hash elsewhere, and compare.
    """
    settings = current_settings()
    with settings.connect() as client:
        verdict = client.verify_audit_log()
    if verdict.first_broken is not None:
        raise OperationError(
            f"audit entry {verdict.first_broken} is not what was recorded",
            hint="somebody changed the database; compare it with a copy",
            reason="AUDIT_BROKEN",
        )
    if settings.as_json:
        print_json(verdict=verdict)
    else:
        print(verdict.last_hash)
    tell(f"All {verdict.entries} entries hold; the last hash is above.")
