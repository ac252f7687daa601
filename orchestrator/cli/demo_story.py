"""The story that the demo tells, in six acts; everything in it really happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.text import Text

from orchestrator.cli.comparison import no_winner, print_comparison
from orchestrator.cli.demo_stage import Stage
from orchestrator.cli.demo_tampering import tampered
from orchestrator.cli.device import facts_of, release_text
from orchestrator.cli.init import example_workload
from orchestrator.cli.live import display_for, follow, print_trials
from orchestrator.cli.output import write_file
from orchestrator.cli.processes import Child
from orchestrator.cli.search import budget_texts
from orchestrator.client import Client, Device, Rollout, Search
from orchestrator.config import DEFAULT_DEVICE_PORT, DEFAULT_PUBLIC_PORT, default_data_dir
from orchestrator.errors import DeliveryError, OperationError
from orchestrator.quantity import format_bytes, format_duration
from orchestrator.releases.release import Release
from orchestrator.rollouts.rollout import RolloutState
from orchestrator.search.search import SearchState
from orchestrator.search.spec import SearchSpec, parse_search_spec

_SEARCH_NAME = "digits"

# Each of them is one that a small device would set, and each rules out some of the candidates or could.
_BUDGETS = {
    "latency_p95": "1ms",
    "energy": "5mJ",
    "memory": "128MiB",
    "size": "60kB",
    "accuracy_drop": "1.5%",
}
# A small model on a computer is timed well enough in a second; the whole story is to be told in four minutes.
_MEASURING = {"minimum_duration": "1s", "maximum_duration": "10s"}
_TIME_LIMIT = "170s"
_DELIVERY_TIMEOUT_S = 90.0

_SHOWN_FACTS = (
    "name",
    "class",
    "architecture",
    "processor",
    "instruction sets",
    "memory",
    "operating system",
    "runtimes",
    "energy",
)


def tell_story(stage: Stage, children: list[Child]) -> None:
    """Plays all six acts; the children that it starts are added to ``children``, which the caller stops.

    Raises:
        FleetfitError: Something did not go as told.
    """
    began = time.monotonic()
    with _act(stage, 1, "An orchestrator starts"):
        stage.start_orchestrator(children)
    with Client.connect(data_dir=stage.root) as client:
        _show_server(stage, client)
        with _act(stage, 2, "This computer joins as a device"):
            device = _device(stage, client, children)
            _show_device(stage, device)
        with _act(stage, 3, "A search: the smallest model within the budgets"):
            search = _search(stage, client, device)
        with _act(stage, 4, "The winner"):
            _show_winner(stage, client, search)
        with _act(stage, 5, "Delivery, signed; and a tampered copy, refused"):
            release = _deliver(stage, client, search, device)
            _deliver_tampered(stage, client, search, device, release)
        with _act(stage, 6, "What to try next"):
            _show_next(stage, client, release)
    stage.say((f"That was the whole loop, in {format_duration(time.monotonic() - began)}.", "bold green"))


def _show_server(stage: Stage, client: Client) -> None:
    server = client.server_info()
    stage.say(("fleetfit up", "bold"), f"  answers at {server.public_address}, devices dial {server.device_address}")
    stage.say(f"state, database, artifacts, keys: {stage.root}")
    stage.say(f"its own certificate authority: {server.ca_hash}")


def _device(stage: Stage, client: Client, children: list[Child]) -> Device:
    known = stage.known_device(client)
    if known is not None:
        stage.say("it joined in an earlier run: its key and its certificate are still good")
        stage.say(("fleetfit-agent run", "bold"))
        connected = stage.run_agent(known, client, children)
        if connected is not None:
            return connected
        stage.say("its certificate is not good any more: it joins again")
    invitation = client.create_join_token()
    stage.say("a join token, good for one device and 15 minutes; on a device you would paste:")
    hidden = invitation.command.replace(invitation.secret, invitation.secret[:8] + "…")
    stage.say((hidden, "bold"))
    return stage.join(invitation, client, children)


def _show_device(stage: Stage, device: Device) -> None:
    facts = facts_of(device)
    for name in _SHOWN_FACTS:
        if facts[name]:
            stage.say((f"{name:<17}", "dim"), facts[name])


def _search(stage: Stage, client: Client, device: Device) -> Search:
    for unfinished in client.list_searches():
        if not unfinished.state.final:
            stage.say(f"search {unfinished.id} was left unfinished by an earlier run: cancelled")
            client.cancel_search(unfinished.id)
    workload = example_workload()
    spec = _spec(device)
    stage.say(("workload  ", "dim"), f"{workload.name}: scikit-learn's digits, a small network, trained on the spot")
    stage.say(("budgets   ", "dim"), ", ".join(budget_texts(spec.budgets.budgets())))
    started = client.create_search(workload, spec)
    stage.say("Ray starts its workers; the device measures each structure before anything is trained on it")
    follow(client.watch_search(started.id), display_for(stage.console), started)
    search = client.get_search(started.id)
    print_trials(stage.console, search)
    stage.say(f"{search.training_count} trainings, {search.measurement_count} measurements: {search.reason}")
    if search.state is SearchState.INFEASIBLE:
        raise no_winner(search)
    if search.state is not SearchState.SUCCEEDED:
        raise OperationError(f"the search {search.state.value}: {search.reason}", hint=f"see {stage.log_dir}")
    return search


def _spec(device: Device) -> SearchSpec:
    formats = {each for runtime in device.facts.runtimes for each in runtime.formats}
    # Conversion to TFLite is an extra of a gigabyte: without it the search does without that format.
    converts = {"onnx"} | ({"tflite"} if find_spec("litert_torch") is not None else set())
    return parse_search_spec(
        {
            "name": _SEARCH_NAME,
            "devices": [device.name],
            "budgets": _BUDGETS,
            "formats": sorted(formats & converts) or ["onnx"],
            "time_limit": _TIME_LIMIT,
            "measuring": _MEASURING,
        }
    )


def _show_winner(stage: Stage, client: Client, search: Search) -> None:
    if search.best is None:
        raise OperationError(f"search {search.id} succeeded without a winner", hint=f"see {stage.log_dir}")
    print_comparison(stage.console, search, search.best, title="winner")
    path = stage.root / f"{search.name}-report.html"
    write_file(path, client.search_report(search.id).encode())
    stage.say("report with a picture of size against accuracy and latency: ", (path.as_uri(), "bold"))


def _deliver(stage: Stage, client: Client, search: Search, device: Device) -> Release:
    release = client.create_release(search.id)
    stage.say(
        f"release {release.title} is signed ({format_bytes(release.artifact_size_bytes)}); the device downloads it, ",
        "checks size, hash and signature, runs golden inputs, and switches",
    )
    rollout = _rollout(stage, client, release, device)
    if rollout.state is not RolloutState.SUCCEEDED:
        reasons = "; ".join(each.reason for each in rollout.deployments if each.reason) or rollout.reason
        raise DeliveryError(f"release {release.title} did not become active: {reasons}", hint=f"see {stage.log_dir}")
    _show_served(stage, client, device)
    return release


def _deliver_tampered(stage: Stage, client: Client, search: Search, device: Device, active: Release) -> None:
    if search.baseline is None:
        raise OperationError(f"search {search.id} has no baseline", hint=f"see {stage.log_dir}")
    release = client.create_release(search.id, trial_number=search.baseline.number)
    stage.forget_artifact(release.artifact_sha256)
    with tampered(stage.layout.artifacts, release.artifact_sha256) as path:
        stage.say(f"now someone with access to this disk changes one byte of the next release, {release.title}:")
        stage.say((f"{path}", "dim"))
        stage.say("(the device has measured this file before: its cache is emptied, so that it must download it)")
        rollout = _rollout(stage, client, release, device)
    if rollout.state is RolloutState.SUCCEEDED:
        raise DeliveryError(f"the device accepted the tampered release {release.title}")
    stage.say(("refused, and nothing was installed", "bold green"), "; the byte is put back")
    served = _show_served(stage, client, device)
    if served != active.title:
        raise DeliveryError(f"the device serves {served or 'nothing'} after the refusal, not {active.title}")


def _rollout(stage: Stage, client: Client, release: Release, device: Device) -> Rollout:
    """The rollout after its end, each step of the device told once."""
    started = client.create_rollout(release.id, selector=device.name)
    told = ""
    for seen in client.watch_rollout(started.id, timeout_s=_DELIVERY_TIMEOUT_S):
        for each in seen.deployments:
            step = f"{each.state.value.replace('_', ' ')}{': ' + each.reason if each.reason else ''}"
            if step != told:
                told = step
                stage.say(("fleetfit push  ", "dim"), f"{each.device}  {step}")
    return client.get_rollout(started.id)


def _show_served(stage: Stage, client: Client, device: Device) -> str:
    served = release_text(client.get_device(device.id))
    stage.say(("fleetfit device show  ", "dim"), f"{device.name} serves ", (served or "nothing", "bold"))
    return served


def _show_next(stage: Stage, client: Client, release: Release) -> None:
    server = client.server_info()
    ports = [server.public_address.rpartition(":")[2], server.device_address.rpartition(":")[2]]
    usual = ports == [str(DEFAULT_PUBLIC_PORT), str(DEFAULT_DEVICE_PORT)]
    on_ports = "" if usual else f" --port {ports[0]} --device-port {ports[1]}"
    if stage.root != default_data_dir():
        stage.say("all of it is kept; first: ", (f"export FLEETFIT_DATA_DIR={stage.root}", "bold"))
    stage.say("what you saw is kept, and can be read while nothing runs:")
    commands = (
        ("fleetfit device list", "the fleet, and what it serves"),
        (f"fleetfit search show {_SEARCH_NAME}", "every candidate, and why it ended"),
        (f"fleetfit release show {release.title}", "the manifest that was signed"),
        ("fleetfit rollout list", "what was delivered, and what was refused"),
    )
    width = max(len(command) for command, _ in commands)
    for command, why in commands:
        stage.say((f"  {command:<{width}}  ", "bold"), (why, "dim"))
    stage.say("to go on with it: ", (f"fleetfit up{on_ports}", "bold"), " and, beside it,")
    stage.say((f"  fleetfit-agent run --state-dir {stage.device_dir}", "bold"))
    stage.say("your own model: ", ("fleetfit init my_workload.py", "bold"), ", a commented file to start from")
    stage.say(
        "your own device: ", ("fleetfit up --host 0.0.0.0", "bold"), ", then ", ("fleetfit join-token create", "bold")
    )


@contextmanager
def _act(stage: Stage, number: int, title: str) -> Iterator[None]:
    stage.console.print()
    stage.console.print(Text.assemble((f"{number}/6 ", "bold cyan"), (title, "bold")))
    yield
