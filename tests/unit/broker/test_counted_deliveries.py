"""How often a message was handed out before, by what each version of RabbitMQ writes."""

from __future__ import annotations

from typing import Any

import pytest

from taskqueue.broker.counted import Counted

OLD, NEW = {"version": "3.10.8"}, {"version": "4.3.6"}


@pytest.mark.parametrize(
    ("broker", "headers", "count"),
    [
        (OLD, {"x-delivery-count": 2}, 2),
        ({"version": "4.2.9"}, {"x-delivery-count": 2}, 2),
        (NEW, {"x-acquired-count": 3, "x-delivery-count": 1}, 3),
        # For consumer timeouts alone
        (NEW, {"x-acquired-count": 3}, 3),
        # What the broker has not written is a publisher's.
        (OLD, {"x-delivery-count": 1, "x-acquired-count": 99}, 1),
        (NEW, {"x-acquired-count": 1, "x-delivery-count": 99}, 1),
        (NEW, {"x-acquired-count": "many"}, 0),
        ({}, {"x-delivery-count": 1}, 1),
        (None, {}, 0),
    ],
)
def test_every_return_counts_whatever_the_reason(
    broker: dict[str, Any] | None, headers: dict[str, Any], count: int
) -> None:
    """A crash, a nack, a consumer timeout: from 4.3 on they stand in two headers."""
    assert Counted.by(broker).earlier(headers, redelivered=True) == count


@pytest.mark.parametrize("broker", [OLD, NEW])
def test_what_a_first_delivery_tells_is_of_another_queue(broker: dict[str, Any]) -> None:
    """Or a publisher has written it."""
    headers = {"x-delivery-count": 9, "x-acquired-count": 9}
    assert Counted.by(broker).earlier(headers, redelivered=False) == 0
