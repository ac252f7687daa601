"""What a user may set: options of the command line, and the environment where an option is absent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ConfigurationError

STATE_DIR_VARIABLE = "FLEETFIT_AGENT_STATE_DIR"
TOKEN_VARIABLE = "FLEETFIT_JOIN_TOKEN"  # noqa: S105 - the variable's name, not a token
LOG_LEVEL_VARIABLE = "FLEETFIT_LOG_LEVEL"
LOG_FORMAT_VARIABLE = "FLEETFIT_LOG_FORMAT"

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

DEFAULT_CACHE_QUOTA_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an agent runs."""

    state_dir: Path
    log_level: str = "info"
    log_format: str = "text"
    # Artifacts that were fetched for measuring; the oldest make room for the newest.
    cache_quota_bytes: int = DEFAULT_CACHE_QUOTA_BYTES


def default_state_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The state directory where none is named: the variable, systemd's, or the user's own by the XDG rules.

    Raises:
        ConfigurationError: There is no home directory to put it in.
    """
    for variable in (STATE_DIR_VARIABLE, "STATE_DIRECTORY"):
        if environment.get(variable):
            return Path(environment[variable]).expanduser()
    base = environment.get("XDG_STATE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    if base and Path(base).is_absolute():
        return Path(base) / "fleetfit-agent"
    try:
        return Path.home() / ".local" / "state" / "fleetfit-agent"
    except RuntimeError as error:
        raise ConfigurationError("there is no home directory for the state", hint="name one: --state-dir D") from error


def choice_from_environment(variable: str, choices: tuple[str, ...], default: str) -> str:
    """The variable's value in lower case, or ``default`` where it is not set.

    Raises:
        ConfigurationError: It is set to something else.
    """
    value = os.environ.get(variable, "").lower() or default
    if value not in choices:
        raise ConfigurationError(f"{variable} is '{value}'", hint=f"use one of {', '.join(choices)}")
    return value
