"""``fleetfit status``: what the orchestrator is and does now."""

from __future__ import annotations

from orchestrator.cli.command import command
from orchestrator.cli.options import COMMON
from orchestrator.cli.output import print_facts, print_json, tell_next
from orchestrator.cli.settings import current_settings


@command("status", example="fleetfit status", options=COMMON)
def status() -> None:
    """Shows what the orchestrator is, who you are to it, and what it does now."""
    settings = current_settings()
    with settings.connect() as client:
        server = client.server_info()
        devices = client.list_devices()
        searches = [search for search in client.list_searches() if not search.state.final]
        rollouts = [rollout for rollout in client.list_rollouts() if not rollout.state.final]
    if settings.as_json:
        print_json(
            server=server,
            device_count=len(devices),
            running_searches=[search.name for search in searches],
            running_rollouts=[rollout.id for rollout in rollouts],
        )
        return
    print_facts(
        {
            "server": f"fleetfit {server.version} at {server.public_address}",
            "devices dial": server.device_address,
            "certificate authority": server.ca_hash,
            "your role": server.role,
            "devices": f"{server.devices_online} of {len(devices)} online",
            "searches running": ", ".join(search.name for search in searches) or "none",
            "rollouts running": ", ".join(rollout.release for rollout in rollouts) or "none",
        }
    )
    if not devices:
        tell_next("fleetfit join-token create")
