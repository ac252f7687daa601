"""Options and types of values that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from orchestrator.cli.settings import Settings
from orchestrator.errors import InvalidInputError
from orchestrator.quantity import parse_duration_s

Parse = Callable[..., float]


class Quantity(click.ParamType[str]):
    """A quantity with its unit, checked and kept as it was written.

    Args:
        parse: The function of ``orchestrator.quantity`` that reads it.
        name: What the help calls the value.
    """

    def __init__(self, parse: Parse, name: str) -> None:
        self.parse = parse
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it was written.

        Raises:
            InvalidInputError: It is no such quantity; the message names the option.
        """
        self.parse(str(value), name=option_name(param))
        return str(value)


class Seconds(click.ParamType[float]):
    """A duration with its unit, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The duration in seconds.

        Raises:
            InvalidInputError: It is no duration; the message names the option.
        """
        return value if isinstance(value, float) else parse_duration_s(str(value), name=option_name(param))


def option_name(param: click.Parameter | None) -> str:
    """The option as the user typed it: ``--latency-p95``."""
    return max(param.opts, key=len) if param is not None and param.opts else "value"


def parse_labels(pairs: tuple[str, ...]) -> dict[str, str]:
    """The labels of ``key=value`` pairs.

    Raises:
        InvalidInputError: One of them is not such a pair.
    """
    labels = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key or not value:
            raise InvalidInputError(f"'{pair}' is not a label", hint="write it as key=value, for example room=lab")
        labels[key] = value
    return labels


def _store(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def store(context: click.Context, _: click.Parameter, value: Any) -> Any:
        if value is not None and value is not False:
            setattr(context.ensure_object(Settings), name, value)
        return value

    return store


def _store_json(context: click.Context, _: click.Parameter, value: bool) -> bool:
    if value:
        context.ensure_object(Settings).output = "json"
    return value


DEBUG: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_store("debug"),
        help="Show the traceback of an error.",
    ),
)

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    expose_value=False,
    callback=_store("data_dir"),
    help="Directory of the local orchestrator. [env: FLEETFIT_DATA_DIR]",
)

CONNECTION: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--server",
        metavar="HOST:PORT",
        expose_value=False,
        callback=_store("server"),
        help="The orchestrator; by itself the local one. [env: FLEETFIT_SERVER]",
    ),
    click.option(
        "--token-file",
        metavar="FILE",
        expose_value=False,
        callback=_store("token_file"),
        help="File with your token, '-' for stdin. [env: FLEETFIT_TOKEN holds the token itself]",
    ),
    click.option(
        "--ca",
        metavar="FILE",
        expose_value=False,
        callback=_store("ca"),
        help="Certificate authority of the server, PEM. [env: FLEETFIT_CA]",
    ),
    DATA_DIR,
    *DEBUG,
)

JSON = click.option(
    "--json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_store_json,
    help="Print one JSON object to stdout.",
)

OUTPUT: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        is_eager=True,
        expose_value=False,
        callback=_store("output"),
        help="Form of what is printed to stdout. [default: table]",
    ),
    JSON,
)

# What every command takes that talks to a server and prints something.
COMMON = (*OUTPUT, *CONNECTION)
