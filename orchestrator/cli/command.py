"""Commands whose help begins with an example, and groups that load a command only when it is called."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

# As people type them who come from other tools.
_ALIASES = {"ls": "list", "rm": "remove", "describe": "show"}


class Command(click.Command):
    """A command with an example, which its help shows before anything else."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.example = example

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what the command does, an example, then how it is called."""
        self.format_help_text(ctx, formatter)
        _format_example(self.example, formatter)
        formatter.write_paragraph()
        self.format_usage(ctx, formatter)
        self.format_options(ctx, formatter)


class Group(click.Group):
    """A group of commands that are imported when they are called, not before.

    Args:
        commands_at: Name of each command, with ``module:attribute`` of the command and its line of help, which is kept
            here so that the group's help imports nothing.
        example: What the group's help begins with.
    """

    def __init__(self, *args: Any, commands_at: Mapping[str, tuple[str, str]], example: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands_at = commands_at
        self.example = example

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order in which a user meets them."""
        return list(self.commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; plurals of nouns and a few verbs of other tools are understood."""
        for name in (cmd_name, _ALIASES.get(cmd_name, ""), cmd_name.removesuffix("s"), cmd_name.removesuffix("es")):
            if name in self.commands_at:
                module, _, attribute = self.commands_at[name][0].partition(":")
                command = getattr(importlib.import_module(module), attribute)
                if not isinstance(command, click.Command):
                    raise TypeError(f"{module}:{attribute} is not a command")
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, under its own name also where an alias was typed.

        Raises:
            click.UsageError: There is none of that name.
        """
        typed = args[0]
        if self.get_command(ctx, typed) is None and not typed.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(typed, self.commands_at, n=1)
            raise click.UsageError(f"no such command '{typed}'" + (f"; did you mean '{near[0]}'?" if near else ""), ctx)
        _, command, rest = super().resolve_command(ctx, args)
        return (None if command is None else command.name), command, rest

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes what the group is for, an example, then its commands."""
        self.format_help_text(ctx, formatter)
        _format_example(self.example, formatter)
        formatter.write_paragraph()
        self.format_usage(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.commands_at.items()])
        click.Command.format_options(self, ctx, formatter)


def command(
    name: str, *, example: str, options: Sequence[Callable[[Any], Any]] = ()
) -> Callable[[Callable[..., Any]], Command]:
    """Decorates a function as the command ``name``, with the options that several commands share."""

    def decorate(function: Callable[..., Any]) -> Command:
        made = click.command(name, cls=Command, example=example, context_settings=CONTEXT)(function)
        for option in options:
            option(made)
        return made

    return decorate


def group(
    name: str, *, commands_at: Mapping[str, tuple[str, str]], example: str
) -> Callable[[Callable[..., Any]], Group]:
    """Decorates a function as the group ``name`` of the commands that are found at ``commands_at``."""

    def decorate(function: Callable[..., Any]) -> Group:
        return click.command(
            name, cls=Group, commands_at=commands_at, example=example, context_settings=CONTEXT, no_args_is_help=True
        )(function)

    return decorate


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _format_example(example: str, formatter: click.HelpFormatter) -> None:
    with formatter.section("Example"):
        for line in example.splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
