"""What the broker should have for the history."""

from __future__ import annotations

from decimal import Decimal

from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import Layout, Queue, Retention, plan


def test_the_history_is_one_exchange_and_two_streams_whatever_the_queues() -> None:
    """Each is bound by its own name, and keeps what the ini says."""
    rungs = Ladder(Decimal("0.1"), 1)
    without = plan(Layout({"a": "a", "b": "b"}, rungs, "quorum"))
    found = plan(Layout({"a": "a", "b": "b"}, rungs, "quorum", history=Retention(3600, 800_000_000)))
    streams = [item for item in found.items if item not in without.items]
    assert [item.name for item in streams] == [
        "taskqueue.history", "taskqueue.history", "taskqueue.history.index",
    ]  # fmt: skip
    records, index = (item for item in streams if isinstance(item, Queue))
    assert records.arguments == {
        "x-queue-type": "stream", "x-max-age": "3600s", "x-max-length-bytes": 800_000_000,
        "x-stream-max-segment-size-bytes": 40_000_000,
    }  # fmt: skip
    assert index.arguments["x-max-length-bytes"] == 100_000_000
    assert [(each.exchange, each.queue, each.routing_key) for each in found.bindings[-2:]] == [
        ("taskqueue.history", name, name) for name in ("taskqueue.history", "taskqueue.history.index")
    ]
