"""A queue that is deleted and declared again while its consumer does not look, and never misses it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from sandbox.receiver import Answer, Receiver
from tests.support.stage import Stage, eventually

COUNT = 2
"""Tasks in the new queue; as many as run of the old one."""


def replace(stage: Stage) -> None:
    """Delete the work queue with what is in it, and declare a classic one at once.

    Of a quorum queue RabbitMQ 3.10.8 does not always say that it is gone, if there is another one by then.
    """
    with stage.connection() as connection:
        channel = connection.channel()
        channel.queue_delete(stage.name)
        channel.queue_declare(stage.name, durable=True, arguments={"x-queue-type": "classic"})


def test_what_ran_of_the_old_queue_takes_nothing_of_the_new_one(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """A classic queue numbers what it hands out from 0 on: an ack of the old task would be one of another."""
    stage = staged()
    replace(stage)
    first, second, never = (threading.Event() for _ in range(3))
    for path, release in (("/first", first), ("/second", second), ("/other", never)):
        receiver.answer(path, Answer(hold=release))
    # Given two tasks that run, handed out some time apart
    process = stage.run()
    stage.publish({"url": "/first"})
    receiver.wait_for(1, path="/first")
    first.wait(2)
    stage.publish({"url": "/second"}, message_id="second")
    receiver.wait_for(1, path="/second")
    # When there is another queue by the time their consumer looks
    process.signal(signal.SIGSTOP)
    try:
        replace(stage)
        for _ in range(COUNT):
            stage.publish({"url": "/other"})
    finally:
        process.signal(signal.SIGCONT)
    try:
        receiver.wait_for(COUNT, path="/other")
    except TimeoutError:
        pytest.fail(process.log)
    # Then the end of an old one leaves the new ones to whoever comes next
    second.set()
    eventually(lambda: any("second" in line and "event=" in line for line in process.lines), "it has ended")
    process.kill()
    stage.run()
    receiver.wait_for(2 * COUNT, path="/other")
    never.set()
    first.set()
    stage.settle()
