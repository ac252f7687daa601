"""How an error looks on the terminal: one line that says what and where, one that says what to do."""

from __future__ import annotations

import json
import sys
import traceback

from orchestrator.errors import FleetfitError, InvalidInputError

SCHEMA_VERSION = 1


class InvalidFileError(InvalidInputError):
    """A file that the user wrote cannot be used; the message begins with ``file:line:column``.

    Args:
        message: What is wrong, and where.
        excerpt: The offending line with a mark under the place.
        hint: What to do about it.
    """

    default_reason = "INVALID_FILE"

    def __init__(self, message: str, *, excerpt: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.excerpt = excerpt


class InterruptedByUserError(FleetfitError):
    """The user pressed Ctrl-C; what goes on without them is told before this is raised."""

    default_reason = "INTERRUPTED"
    exit_code = 130


def print_error(error: FleetfitError, *, as_json: bool, debug: bool) -> None:
    """Writes the error to stderr; with ``as_json`` also as an object to stdout, which scripts read."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if as_json:
        body = {
            "reason": error.reason,
            "message": error.message,
            "hint": error.hint,
            "exit_code": error.exit_code,
        }
        print(json.dumps({"schema_version": SCHEMA_VERSION, "error": body}, ensure_ascii=False))
    # What the user did is no error.
    label = "" if isinstance(error, InterruptedByUserError) else "error: "
    print(f"{label}{one_line(error.message)}", file=sys.stderr)
    if isinstance(error, InvalidFileError) and error.excerpt:
        print(error.excerpt, file=sys.stderr)
    if error.hint:
        print(f"hint: {one_line(error.hint)}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text without line breaks or control characters that another machine may have put into it."""
    return "".join(character if character.isprintable() else " " for character in text).strip()
