"""A rollout as it is followed on the terminal, and what its end means for the exit code."""

from __future__ import annotations

from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.cli.errors import InterruptedByUserError, one_line
from orchestrator.cli.output import print_facts, print_json_line, print_table, stderr_console, tell, time_text
from orchestrator.cli.rollout_plan import plan_text
from orchestrator.client import Client, Deployment, Rollout
from orchestrator.errors import DeliveryError
from orchestrator.rollouts.rollout import DeploymentState, RolloutState

_STYLES = {
    DeploymentState.ACTIVE: "green",
    DeploymentState.REFUSED: "red",
    DeploymentState.FAILED: "red",
    DeploymentState.ROLLED_BACK: "red",
    DeploymentState.SUPERSEDED: "dim",
    DeploymentState.REMOVED: "dim",
    DeploymentState.WAITING: "dim",
    DeploymentState.SKIPPED_OFFLINE: "yellow",
    DeploymentState.ABORTED: "dim",
}


def follow(client: Client, started: Rollout, *, as_json: bool, timeout_s: float | None = None) -> Rollout:
    """Shows a rollout's progress until it ends, and returns it where it succeeded or a newer one took its place.

    Raises:
        DeliveryError: It failed or was aborted, or is paused and waits for somebody.
        DeadlineError: It goes on after ``timeout_s``.
        InterruptedByUserError: The user pressed Ctrl-C; the rollout goes on.
    """
    try:
        rollout = _watch(client, started, as_json=as_json, timeout_s=timeout_s)
    except KeyboardInterrupt as interrupt:
        raise InterruptedByUserError(
            f"stopped watching; rollout {started.id} goes on", hint=f"fleetfit rollout watch {started.id}"
        ) from interrupt
    if as_json:
        print_json_line(event="end", rollout=rollout)
    else:
        print_rollout(rollout)
    if rollout.state is RolloutState.PAUSED:
        raise DeliveryError(
            f"rollout {rollout.id} of {rollout.release} is paused: {rollout.reason}",
            hint=f"look at it, then 'fleetfit rollout resume {rollout.id}', or 'abort', or 'rollback'",
        )
    if rollout.state is RolloutState.ABORTED:
        raise DeliveryError(f"rollout {rollout.id} of {rollout.release} was aborted: {rollout.reason}")
    if rollout.state is RolloutState.FAILED:
        raise failure(rollout)
    return rollout


def print_rollout(rollout: Rollout) -> None:
    """Writes where the rollout and each of its devices are to stdout."""
    print_facts(
        {
            "rollout": rollout.id,
            "release": rollout.release,
            "to": rollout.selector,
            "state": rollout.state.value,
            "wave": plan_text(rollout.plan, rollout.wave),
            "reason": rollout.reason,
            "started": time_text(rollout.created_at),
            "ended": time_text(rollout.finished_at),
        }
    )
    print_table(
        ("DEVICE", "WAVE", "STATE", "SINCE", "REASON"),
        [
            (each.device, str(each.wave), each.state.value, time_text(each.updated_at), each.reason)
            for each in rollout.deployments
        ],
        empty="No device takes part.",
    )


def failure(rollout: Rollout) -> DeliveryError:
    """What went wrong in a rollout that failed, in one line."""
    bad = [each for each in rollout.deployments if each.state.failure]
    if not bad:
        return DeliveryError(f"rollout {rollout.id} of {rollout.release} failed: {rollout.reason}")
    first = bad[0]
    others = f", and {len(bad) - 1} more devices" if len(bad) > 1 else ""
    return DeliveryError(
        f"device {first.device} {first.state.value.replace('_', ' ')} release {rollout.release}"
        f" ({first.reason or 'no reason given'}){others}",
        hint=f"it serves what it served before; see 'fleetfit device show {first.device}'",
    )


def _watch(client: Client, started: Rollout, *, as_json: bool, timeout_s: float | None) -> Rollout:
    console = stderr_console()
    rollout = started
    seen: dict[str, DeploymentState] = {}
    live = Live(_progress(rollout), console=console, refresh_per_second=4, transient=True)
    with live if console.is_terminal and not as_json else _Silence():
        for rollout in client.watch_rollout(started.id, timeout_s=timeout_s):
            live.update(_progress(rollout))
            for each in rollout.deployments:
                if seen.get(each.id) is each.state:
                    continue
                seen[each.id] = each.state
                if as_json:
                    print_json_line(event="deployment", rollout=rollout.id, deployment=each)
                elif not console.is_terminal:
                    tell(_line(each))
            if rollout.state is RolloutState.PAUSED:
                break
    return rollout


class _Silence:
    """Stands in for the live display where there is no terminal."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _progress(rollout: Rollout) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row(Text(rollout.release, style="bold"), Text(rollout.state.value), Text(""))
    for each in rollout.deployments:
        state = Text(each.state.value.replace("_", " "), style=_STYLES.get(each.state, "cyan"))
        table.add_row(Text(f"  {one_line(each.device)}"), state, Text(one_line(each.reason)))
    return table


def _line(deployment: Deployment) -> str:
    reason = f": {deployment.reason}" if deployment.reason else ""
    return f"{deployment.device}  {deployment.state.value.replace('_', ' ')}{reason}"
