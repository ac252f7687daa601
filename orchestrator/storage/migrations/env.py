"""Runs migrations on the connection that is handed in: there is no alembic.ini, and no second way to connect."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator

from orchestrator.storage.tables import METADATA


def _render_item(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A migration spells out what is stored: our own column types may change, a migration must not."""
    if kind == "type" and isinstance(item, TypeDecorator):
        return f"sa.{item.impl_instance!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    compare_type=True,
    render_item=_render_item,
    # SQLite knows hardly any ALTER: a table is made anew and filled from the old one.
    render_as_batch=True,
)
context.run_migrations()
