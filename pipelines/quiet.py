"""Silence while a library talks to its developers rather than to our users."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Inside, Python warnings, log messages up to warnings, and printed text are dropped; errors are raised as ever.

    Exporters and quantizers remark on packages that are not installed and on PyTorch's own use of itself, and print
    their progress. What of it matters is checked afterwards: the file is run and compared.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
