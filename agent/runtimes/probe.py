"""The process that tells whether a runtime works here: it runs a model by every provider, and prints one line for each.

Run as ``python -m agent.runtimes.probe NAME``.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy

from agent.runtimes.catalogue import PROBE_LINE_PREFIX, load_runtime, runtime_entries
from agent.runtimes.errors import InferenceError
from agent.runtimes.runtime import Runtime


def main() -> None:
    """Probes the runtime that the command line names."""
    entry = next(entry for entry in runtime_entries() if entry.name == sys.argv[1])
    try:
        runtime = load_runtime(entry)
    except InferenceError as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / f"probe.{runtime.formats[0]}"
        path.write_bytes(runtime.probe_model())
        for provider in runtime.providers():
            try:
                works = runs_the_model(runtime, path, provider=provider)
            except (InferenceError, MemoryError) as error:
                sys.stderr.write(f"{provider}: {error}\n")
                continue
            if works:
                line = {
                    "name": entry.name,
                    "version": runtime.version(),
                    "formats": runtime.formats,
                    "provider": provider,
                }
                sys.stdout.write(f"\n{PROBE_LINE_PREFIX}{json.dumps(line)}\n")
                sys.stdout.flush()


def runs_the_model(runtime: Runtime, path: Path, *, provider: str) -> bool:
    """Whether the provider loads the probe model at ``path`` and computes what it should: the input added to itself.

    Raises:
        InferenceError: The runtime refuses the model or the provider.
        MemoryError: There is not enough memory.
    """
    model = runtime.load(path, threads=1, provider=provider)
    feed = numpy.array([[1.0, -2.0, 3.5, 0.25]], dtype=numpy.float32)
    model.bind([feed])
    model.run()
    (output,) = model.fetch()
    return bool(numpy.array_equal(output, feed + feed))


if __name__ == "__main__":
    main()
