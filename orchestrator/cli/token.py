"""``fleetfit token``: API tokens of people and scripts."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import COMMON, Seconds
from orchestrator.cli.output import print_json, print_table, tell, time_text
from orchestrator.cli.settings import current_settings
from orchestrator.client import ApiToken
from orchestrator.fleet.api_token import Role

_COMMANDS = {
    "create": ("orchestrator.cli.token:create", "Make a token for a person or a script."),
    "list": ("orchestrator.cli.token:list_", "Show the tokens, without their secrets."),
    "revoke": ("orchestrator.cli.token:revoke", "End a token."),
}


@group("token", commands_at=_COMMANDS, example="fleetfit token create ci --role operator")
def token() -> None:
    """API tokens of people and scripts. Each role may do what the ones before it may.

    viewer: sees everything but tokens and the audit log. operator: searches, delivers, lets devices in. signer: signs
    releases. admin: makes tokens and reads the audit log.
    """


@command("create", example="fleetfit token create ci --role operator --ttl 90d", options=COMMON)
@click.argument("name")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="What it may do.")
@click.option("--ttl", type=Seconds(), default=None, help="How long it lasts. [default: until it is revoked]")
def create(name: str, role: str, ttl: float | None) -> None:
    """Makes a token and prints it, this once."""
    settings = current_settings()
    with settings.connect() as client:
        made = client.create_api_token(
            name, role=Role(role), time_to_live=None if ttl is None else timedelta(seconds=ttl)
        )
    if settings.as_json:
        print_json(token=made.token, secret=made.secret)
    else:
        print(made.secret)
    tell(f"Token {made.token.id} is for {name}, as {role}; it is shown this once. Use it in FLEETFIT_TOKEN.")


@command("list", example="fleetfit token list", options=COMMON)
def list_() -> None:
    """Shows the tokens, without their secrets."""
    settings = current_settings()
    with settings.connect() as client:
        tokens = client.list_api_tokens()
    if settings.as_json:
        print_json(tokens=tokens)
        return
    print_table(
        ("ID", "NAME", "ROLE", "STATE", "MADE", "EXPIRES"),
        [
            (each.id, each.name, each.role.value, _state(each), time_text(each.created_at), time_text(each.expires_at))
            for each in tokens
        ],
        empty="There are no tokens.",
    )


@command("revoke", example="fleetfit token revoke 7f3a", options=COMMON)
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Ends a token: its next call is refused."""
    settings = current_settings()
    with settings.connect() as client:
        revoked = client.revoke_api_token(token_id)
    if settings.as_json:
        print_json(token=revoked)
    tell(f"Token {revoked.id} of {revoked.name} is revoked.")


def _state(token: ApiToken) -> str:
    if token.revoked:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= datetime.now(timezone.utc) else "valid"
