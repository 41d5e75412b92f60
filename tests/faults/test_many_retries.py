"""A task that is retried very often over the same wait queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox.receiver import Receiver
from tests.support.stage import PATIENCE, Stage, eventually

OFTEN = 100


@pytest.mark.slow
def test_a_task_that_is_retried_100_times_arrives_100_times_and_carries_no_history(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """A kept x-death would be taken for a cycle and the message dropped, or grow at each walk."""
    stage = staged(min_backoff_seconds=0.1, max_backoff_seconds=0.1)
    receiver.answer("/x", 500)
    stage.publish({"url": "/x"}, message_id="m")
    early = headers_after(stage, receiver, 3)
    late = headers_after(stage, receiver, OFTEN)
    assert shape(early) == shape(late)
    attempts = [int(request.headers["Taskqueue-Attempt"]) for request in receiver.requests]
    assert attempts == list(range(1, len(attempts) + 1))


def headers_after(stage: Stage, receiver: Receiver, attempts: int) -> dict[str, Any]:
    """Run the task so many times, and look at its message when it is due again with nobody there."""
    process = stage.run()
    receiver.wait_for(attempts, timeout=2 * PATIENCE)
    process.stop()
    eventually(lambda: stage.depth() == 1, "the task due again")
    with stage.connection() as connection:
        channel = connection.channel()
        method, properties, _ = channel.basic_get(stage.name)
        assert method is not None
        assert properties is not None
        channel.basic_nack(method.delivery_tag or 0, requeue=True)
        return dict(properties.headers or {})


def shape(headers: dict[str, Any]) -> tuple[list[str], int, int]:
    """Give what would grow: the names, the deaths in the broker's record, and their count."""
    deaths = headers["x-death"]
    # Whether a consumer that was stopped had it too is no matter.
    names = headers.keys() - {"x-delivery-count", "x-acquired-count"}
    return sorted(names), len(deaths), sum(death["count"] for death in deaths)
