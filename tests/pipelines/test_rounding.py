from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rounding import rounded_share


@pytest.mark.parametrize(
    ("total", "share", "round_to", "expected"),
    [
        (16, 0.5, 4, 8),
        (24, 0.5, 4, 12),
        (24, 0.7, 4, 16),
        (24, 0.7, 1, 17),
        (16, 0.01, 4, 4),
        (3, 0.1, 4, 3),
        (16, 0.99, 4, 16),
        (64, 0.35, 8, 24),
    ],
)
def test_a_share_is_rounded_to_the_nearest_multiple(total: int, share: float, round_to: int, expected: int) -> None:
    assert rounded_share(total, share, round_to) == expected


@given(total=st.integers(1, 4096), share=st.floats(0.001, 0.999), round_to=st.integers(1, 64))
def test_a_rounded_share_is_never_nothing_and_never_more_than_all(total: int, share: float, round_to: int) -> None:
    rounded = rounded_share(total, share, round_to)
    assert 1 <= rounded <= total
    assert rounded % round_to == 0 or rounded == total
    assert abs(rounded - total * share) <= round_to
