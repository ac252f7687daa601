"""Migrations, oldest first, forward only; run by ``orchestrator.storage.migration``.

After a change of ``tables.py`` run ``python -m orchestrator.storage.migrations "What changes"``, and read what was
written. Then ``python -m tests.orchestrator.storage.released_database`` keeps a database of the new revision for tests.
"""
