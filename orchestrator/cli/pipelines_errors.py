"""Errors of the compression library as the command line says them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.cli.errors import InvalidFileError
from orchestrator.errors import InvalidInputError, OperationError
from pipelines.errors import CheckpointError, PipelinesError, RecipeError, WorkloadError


@contextmanager
def as_fleetfit_errors() -> Iterator[None]:
    """Raises the library's errors as those of this program: what the user gave is to blame, or it was tried and failed.

    Raises:
        InvalidFileError: A recipe is wrong; the message names line and column where it is from a file.
        InvalidInputError: The workload or its checkpoint is.
        OperationError: Anything else.
    """
    try:
        yield
    except RecipeError as error:
        message, _, shown = error.message.partition("\n")
        raise InvalidFileError(message, excerpt=shown, hint=error.hint) from error
    except (WorkloadError, CheckpointError) as error:
        raise InvalidInputError(error.message, hint=error.hint, reason=error.reason) from error
    except PipelinesError as error:
        raise OperationError(error.message, hint=error.hint, reason=error.reason) from error
