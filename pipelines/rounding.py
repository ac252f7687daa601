"""Rounding widths: runtimes compute in groups of channels, and a half-full group takes as long as a full one."""

from __future__ import annotations


def rounded_share(total: int, share: float, round_to: int) -> int:
    """The multiple of ``round_to`` nearest to a share of ``total``: at least one multiple of it, at most all."""
    multiples = int(total * share / round_to + 0.5)
    return min(total, max(1, multiples) * round_to)
