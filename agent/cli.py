"""``fleetfit-agent``: joins a fleet, runs, says how it is, leaves; and profiles models without one."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from agent.config import (
    DEFAULT_CACHE_QUOTA_BYTES,
    LOG_FORMAT_VARIABLE,
    LOG_FORMATS,
    LOG_LEVEL_VARIABLE,
    LOG_LEVELS,
    STATE_DIR_VARIABLE,
    TOKEN_VARIABLE,
    Settings,
    choice_from_environment,
    default_state_dir,
)
from agent.errors import AgentError, ConfigurationError
from agent.facts import agent_version
from agent.identity import forget_identity, load_identity
from agent.logs import configure_logs, printable
from agent.report import status_report, status_text
from agent.standalone.command import add_doctor_options, add_profile_options
from agent.state_directory import StateDirectory

_log = logging.getLogger(__name__)

_MEBIBYTE = 1 << 20


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with what was wrong and where to look."""
        _print_error(ConfigurationError(message, hint=f"{self.prog} --help"))
        sys.exit(ConfigurationError.exit_code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns the exit code; 0 also where a signal ended an agent that ran."""
    # Native gRPC would write its own lines to standard error, and meddle with forks.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    options = _parser().parse_args(arguments)
    try:
        configure_logs(
            level=options.log_level or choice_from_environment(LOG_LEVEL_VARIABLE, LOG_LEVELS, "info"),
            log_format=options.log_format or choice_from_environment(LOG_FORMAT_VARIABLE, LOG_FORMATS, "text"),
        )
        code: int = options.command(options)
    except AgentError as error:
        _print_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code


def _join(options: argparse.Namespace) -> int:
    state = _state(options)
    token = _token(options.token)
    asyncio.run(_enrol(options, state, token))
    name = load_identity(state).name
    print(f"joined as '{printable(name)}'", flush=True)
    if not options.run:
        print("Next: fleetfit-agent run", file=sys.stderr)
        return 0
    _become_runner(options, state)


async def _enrol(options: argparse.Namespace, state: StateDirectory, token: str) -> None:
    # Certificates are checked with cryptography, 10 MB that an agent that runs can do without.
    from agent.app import gather_facts  # noqa: PLC0415
    from agent.enrolment import join, parse_invitation  # noqa: PLC0415

    invitation = parse_invitation(address=options.address, token=token, ca_hash=options.ca_hash)
    with state.hold():
        await join(invitation, state=state, facts=await gather_facts(), name=options.name)


def _run(options: argparse.Namespace) -> int:
    state = _state(options)
    from agent.app import serve  # noqa: PLC0415 - gRPC takes a while to load, which --help and status need not wait for

    settings = Settings(state_dir=state.root, cache_quota_bytes=options.cache_quota_mib * _MEBIBYTE)
    try:
        asyncio.run(serve(settings))
    except asyncio.CancelledError:
        _log.info("stopped")
    return 0


def _status(options: argparse.Namespace) -> int:
    state = _state(options)
    report = status_report(state)
    print(json.dumps(report, indent=2) if options.json else status_text(report))
    return 0


def _leave(options: argparse.Namespace) -> int:
    state = _state(options)
    with state.hold():
        joined = state.identity_record.exists()
        forget_identity(state)
    print("left the fleet; its key and certificate are gone" if joined else "this machine has not joined a fleet")
    return 0


def _become_runner(options: argparse.Namespace, state: StateDirectory) -> NoReturn:
    """Replaces this process by one that runs: the token leaves the process list, the certificate code the memory."""
    interpreter = sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]
    run = ["run", "--state-dir", str(state.root), "--cache-quota-mib", str(options.cache_quota_mib)]
    for name in ("log_level", "log_format"):
        if getattr(options, name):
            run += [f"--{name.replace('_', '-')}", getattr(options, name)]
    environment = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    # The same interpreter with the same script; nothing of it comes from the network.
    os.execve(sys.executable, [*interpreter, *run], environment)  # noqa: S606


def _state(options: argparse.Namespace) -> StateDirectory:
    return StateDirectory(options.state_dir or default_state_dir())


def _token(given: str | None) -> str:
    """The token from the option, from standard input, or from the environment.

    Raises:
        ConfigurationError: There is none.
    """
    token = sys.stdin.readline() if given == "-" else given or os.environ.get(TOKEN_VARIABLE, "")
    if not token.strip():
        raise ConfigurationError(
            "there is no join token", hint=f"give one with --token, as a line with '--token -', or in {TOKEN_VARIABLE}"
        )
    return token


def _print_error(error: AgentError) -> None:
    print(f"error: {_one_line(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"hint: {_one_line(error.hint)}", file=sys.stderr)


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fleetfit-agent",
        description="Makes this machine a device of a fleet: measures models, and installs signed releases.",
        epilog="example:\n  fleetfit-agent join fleet.lan:7443 --token T --ca-hash sha256:…",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fleetfit-agent {agent_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_join(commands)
    run = _add_command(commands, "run", "Serve the fleet that this machine has joined, until stopped.", "run")
    run.set_defaults(command=_run)
    _add_cache_quota(run)
    status = _add_command(commands, "status", "Say what this device is and whether it is connected.", "status --json")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(command=_status)
    profile = _add_command(
        commands,
        "profile",
        "Measure a model on this device: latency, memory, energy. Needs no fleet.",
        "profile digits.onnx --threads 4 --energy",
        stateful=False,
    )
    add_profile_options(profile)
    doctor = _add_command(
        commands,
        "doctor",
        "Say what this device can measure, and what would make it measure better. Changes nothing.",
        "doctor",
        stateful=False,
    )
    add_doctor_options(doctor)
    leave = _add_command(commands, "leave", "Forget the fleet: removes key, certificate and queued results.", "leave")
    leave.set_defaults(command=_leave)
    return parser


def _add_join(commands: argparse._SubParsersAction[_Parser]) -> None:
    join = _add_command(
        commands,
        "join",
        "Become a device of a fleet, then serve it. The token is sent only to a server of the announced authority.",
        "join fleet.lan:7443 --token T --ca-hash sha256:… --name kitchen-pi",
    )
    join.add_argument("address", metavar="ADDRESS", help="host:port that 'fleetfit join-token create' prints")
    join.add_argument("--token", metavar="T", help=f"the join token; '-' reads a line of input [{TOKEN_VARIABLE}]")
    join.add_argument("--ca-hash", metavar="HASH", required=True, help="hash of the fleet's authority, sha256:…")
    join.add_argument("--name", metavar="N", default="", help="wish for the device's name (default: the host's name)")
    join.add_argument(
        "--run",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on running after joining, in the foreground (default), or only join",
    )
    _add_cache_quota(join)
    join.set_defaults(command=_join)


def _add_command(
    commands: argparse._SubParsersAction[_Parser], name: str, description: str, example: str, *, stateful: bool = True
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=description,
        description=description,
        epilog=f"example:\n  fleetfit-agent {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if stateful:
        command.add_argument(
            "--state-dir",
            metavar="D",
            type=Path,
            help=f"where the agent keeps its state [{STATE_DIR_VARIABLE}] (~/.local/state/fleetfit-agent)",
        )
    command.add_argument("--log-level", choices=LOG_LEVELS, help=f"[{LOG_LEVEL_VARIABLE}] (info)")
    command.add_argument("--log-format", choices=LOG_FORMATS, help=f"[{LOG_FORMAT_VARIABLE}] (text)")
    return command


def _add_cache_quota(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cache-quota-mib",
        metavar="N",
        type=_positive,
        default=DEFAULT_CACHE_QUOTA_BYTES // _MEBIBYTE,
        help="disk for models under measurement, in MiB (%(default)s)",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return int(text)
