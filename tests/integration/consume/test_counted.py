"""What the broker counts against a task: only consumers that ended while they held it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pika
import pytest

from sandbox.receiver import Receiver
from taskqueue.consume import parting
from tests.support.stage import PATIENCE, Stage, eventually

COUNT = 3000
EVERY = 50


@pytest.mark.parametrize("concurrency", [4, 50])
def test_a_queue_that_stops_and_goes_on_counts_nothing_against_what_is_on_its_way(
    concurrency: int,
    staged: Callable[..., Stage],
    receiver: Receiver,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each suspect has the queue consumed anew, while the broker hands out as fast as it can.

    A quorum queue takes back what is on its way to a consumer that is cancelled, and counts it as handed out.
    """
    # A broker that says nothing for that long has nothing more, though it may be one of many on its machine.
    monkeypatch.setattr(parting, "QUIET", 1.0)
    monkeypatch.setattr(parting, "_DEADLINE", PATIENCE)
    stage = staged(delivery_limit=3, concurrency=concurrency)
    with stage.connection() as connection:
        channel = connection.channel()
        for number in range(COUNT):
            suspect = number % EVERY == EVERY // 2
            headers = {"taskqueue-crashes": 1} if suspect else {}
            name = f"suspect-{number}" if suspect else f"task-{number}"
            properties = pika.BasicProperties(delivery_mode=2, message_id=name, headers=headers)
            channel.basic_publish("", stage.name, json.dumps({"url": "/ok"}).encode(), properties)
    stage.consume()
    done: set[str] = set()

    def all_done() -> bool:
        done.update(request.headers["Taskqueue-Id"] for request in receiver.to("/ok"))
        return len(done) == COUNT

    eventually(all_done, "all have run")
    stage.settle()
    alone = [
        match[1] for line in caplog.messages if (match := re.search(r"(\S+): handed out \d+ times", line))
    ]
    assert len(alone) >= COUNT // EVERY
    assert [name for name in alone if not name.startswith("suspect")] == []
