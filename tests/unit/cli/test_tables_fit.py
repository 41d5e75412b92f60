"""Which columns of a table are shown where there is not room for all, and how much of each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.cli.tables import fitted

COLUMNS = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40)), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("widths", "least", "room", "shown"),
    [
        ([36, 6, 60, 30, 24, 8], [36, 6, 12, 12, 24, 8], 80, [36, 6, 20, 12, 0, 0]),
        ([36, 6, 60, 30, 24, 8], [36, 6, 12, 12, 24, 8], 100_000, [36, 6, 60, 30, 24, 8]),
        ([36, 6], [36, 6], 20, [20, 0]),
        ([100, 30, 20], [36, 12, 12], 80, [36, 28, 12]),
        ([3, 60, 5], [36, 12, 5], 20, [3, 15, 0]),
        ([3, 60, 5], [36, 12, 5], 24, [3, 12, 5]),
    ],
)
def test_what_matters_most_is_shown_first(
    widths: list[int], least: list[int], room: int, shown: list[int]
) -> None:
    """With as much as it needs, before another gets anything."""
    assert fitted(widths, least, room) == shown


@given(COLUMNS, st.integers(1, 400))
def test_a_line_never_is_longer_than_its_room_and_wastes_none(
    columns: list[tuple[int, int]], room: int
) -> None:
    """The first column is always there; nothing is wider than what is in it."""
    widths, least = [width for width, _ in columns], [needed for _, needed in columns]
    shown = fitted(widths, least, room)
    taken = sum(shown) + 2 * (sum(map(bool, shown)) - 1)
    assert shown[0] >= 1
    assert taken <= room
    assert all(0 <= each <= width for each, width in zip(shown, widths, strict=True))
    assert all(
        each == 0 or each >= min(width, needed)
        for each, width, needed in zip(shown[1:], widths[1:], least[1:], strict=True)
    )
    if room >= sum(widths) + 2 * (len(widths) - 1):
        assert shown == widths
