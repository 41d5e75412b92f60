"""Consumers of a queue with a rate: those that share it count, and a silent leader proves none absent."""

from __future__ import annotations

import pytest

from taskqueue.broker.replies import Counts
from taskqueue.operate.inspect import _consumers, _Unknown


@pytest.mark.parametrize(
    ("work", "sharing", "told"),
    [
        (Counts(3, 2), None, 2),
        (Counts(3, 0), Counts(0, 4), 4),
        (Counts(3, 5), Counts(0, 4), 5),
        (Counts(3, 2), _Unknown(), 2),
        (Counts(3, 0), _Unknown(), None),
        (_Unknown(), Counts(0, 4), None),
        (None, None, None),
    ],
)
def test_none_are_told_only_where_that_is_known(
    work: Counts | _Unknown | None, sharing: Counts | _Unknown | None, told: int | None
) -> None:
    """Between two tokens the work queue has none, whoever is there."""
    assert _consumers(work, sharing) == told
