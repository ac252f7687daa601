"""Writes the next migration: ``python -m orchestrator.storage.migrations "Add the audit log"``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from orchestrator.storage.engine import open_engine
from orchestrator.storage.migration import upgrade, write_revision


def main() -> None:
    """Compares ``tables.py`` with an empty database that is brought up to date, and prints what was written."""
    message = " ".join(sys.argv[1:])
    if not message:
        sys.exit('usage: python -m orchestrator.storage.migrations "What changes"')
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{Path(folder)}/empty.db")
        upgrade(engine)
        for path in write_revision(message, engine):
            print(path)
        engine.dispose()


if __name__ == "__main__":
    main()
