"""Names: as people write a time, and all under one permission pattern."""

from __future__ import annotations

from decimal import Decimal

import pytest

from taskqueue.topology import names


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0.3", "0.3s"),
        ("1", "1s"),
        ("1.0", "1s"),
        ("20", "20s"),
        ("3000", "3000s"),
        ("9000000", "9000000s"),
        ("0.001", "0.001s"),
        ("0.250", "0.25s"),
    ],
)
def test_a_time_is_written_in_seconds_as_people_do(value: str, written: str) -> None:
    """No exponent, no zeros that say nothing."""
    assert names.seconds(Decimal(value)) == written


def test_the_names_of_a_queue_are_those_of_the_contract() -> None:
    """Operators have them in dashboards and permission patterns: they do not change."""
    assert names.wait_exchange("mails") == "mails.wait"
    assert names.level_exchange("mails", "10s") == "mails.wait.10s"
    assert names.wait_queue("mails", "0.3s") == "mails.wait.0.3s"
    assert names.dead("mails") == "mails.dead"
    assert names.hop(names.ENTRY, "0.3s") == "in>0.3s"
    assert names.hop("10s", names.DUE) == "10s>due"
