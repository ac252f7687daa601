"""Text from outside made inert: what a device or a user sends may be shown, and may do nothing."""

from __future__ import annotations

import unicodedata

# Categories that move the cursor, change colours, reorder or hide what is read: control, format (bidirectional
# overrides, zero-width), surrogates, private use, unassigned, line and paragraph separators.
_ACTIVE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain_text(text: str, *, limit: int = 200) -> str:
    """One line of at most ``limit`` characters, each of them printable; runs of anything else become one space."""
    # No more is looked at than could be kept, however long the text.
    visible = (" " if unicodedata.category(c) in _ACTIVE else c for c in text[: 4 * limit])
    line = " ".join("".join(visible).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
