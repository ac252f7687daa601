"""``fleetfit join-token``: tokens with which devices join."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import COMMON, Seconds, parse_labels
from orchestrator.cli.output import labels_text, print_json, print_table, tell, tell_next, time_text
from orchestrator.cli.settings import current_settings
from orchestrator.client import JoinToken, NewJoinToken

_COMMANDS = {
    "create": ("orchestrator.cli.join_token:create", "Make a token, and the line to run on the device."),
    "list": ("orchestrator.cli.join_token:list_", "Show the tokens, without their secrets."),
    "revoke": ("orchestrator.cli.join_token:revoke", "End a token before its time."),
}


@group("join-token", commands_at=_COMMANDS, example="fleetfit join-token create --ttl 15m")
def join_token() -> None:
    """Tokens with which devices join the fleet: used once, short-lived, kept only as a hash."""


@command("create", example="fleetfit join-token create --ttl 1h --uses 5 --label room=lab", options=COMMON)
@click.option("--ttl", type=Seconds(), default=None, help="How long it can be used, for example 15m. [default: 15m]")
@click.option(
    "--uses", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many devices may join."
)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Given to each device that joins.")
def create(ttl: float | None, uses: int, labels: tuple[str, ...]) -> None:
    """Makes a token and prints the line to paste on the device. The token is shown this once."""
    settings = current_settings()
    with settings.connect() as client:
        made = client.create_join_token(
            time_to_live=None if ttl is None else timedelta(seconds=ttl),
            maximum_uses=uses,
            labels=parse_labels(labels),
        )
    if settings.as_json:
        print_json(**_with_secret(made))
    else:
        print(made.command)
    if made.address.rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]"):
        tell("This orchestrator listens on this computer only; for devices elsewhere: fleetfit up --host 0.0.0.0")
    devices = "one device" if uses == 1 else f"{uses} devices"
    tell(f"Run it on the device: good for {devices} until {time_text(made.token.expires_at)}.")
    tell_next("fleetfit device list")


@command("list", example="fleetfit join-token list", options=COMMON)
def list_() -> None:
    """Shows the tokens, without their secrets."""
    settings = current_settings()
    with settings.connect_to_read() as client:
        tokens = client.list_join_tokens()
    now = datetime.now(timezone.utc)
    if settings.as_json:
        print_json(join_tokens=[{"state": _state(token, now), **_fields(token)} for token in tokens])
        return
    print_table(
        ("ID", "STATE", "USES", "EXPIRES", "LABELS"),
        [
            (
                token.id,
                _state(token, now),
                f"{token.uses}/{token.maximum_uses}",
                time_text(token.expires_at),
                labels_text(token.labels),
            )
            for token in tokens
        ],
        empty="There are no join tokens. Make one: fleetfit join-token create",
    )


@command("revoke", example="fleetfit join-token revoke jt-7f3a", options=COMMON)
@click.argument("token_id", metavar="ID")
def revoke(token_id: str) -> None:
    """Ends a token: no device can join with it from now on. Devices that joined stay."""
    settings = current_settings()
    with settings.connect() as client:
        token = client.revoke_join_token(token_id)
    if settings.as_json:
        print_json(join_token=_fields(token))
    tell(f"Join token {token.id} is revoked.")


def _state(token: JoinToken, now: datetime) -> str:
    if token.revoked:
        return "revoked"
    if token.used_up:
        return "used"
    return "expired" if token.expires_at is not None and token.expires_at <= now else "valid"


def _fields(token: JoinToken) -> dict[str, object]:
    return {
        "id": token.id,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "uses": token.uses,
        "maximum_uses": token.maximum_uses,
        "revoked": token.revoked,
        "labels": token.labels,
    }


def _with_secret(made: NewJoinToken) -> dict[str, object]:
    return {
        **_fields(made.token),
        "token": made.secret,
        "ca_hash": made.ca_hash,
        "address": made.address,
        "command": made.command,
    }
