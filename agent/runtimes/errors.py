"""Why a runtime could not be used, or a model not run. The worker turns each into an outcome; no user sees a traceback.

::

    InferenceError
    ├── RuntimeUnavailableError   not installed, or does not work on this device
    └── UnsupportedModelError     the runtime refuses the model, or the model fails when it is run

That there is not enough memory is told with Python's own ``MemoryError``.
"""

from __future__ import annotations


class InferenceError(Exception):
    """Base of what stands between an artifact and its first inference."""


class RuntimeUnavailableError(InferenceError):
    """The runtime is not installed, or does not work on this device."""


class UnsupportedModelError(InferenceError):
    """The runtime refuses the model, or the model fails when it is run."""
