"""Get a work queue out of the hands of its consumers, so that it can be replaced."""

from __future__ import annotations

import time
from collections.abc import Callable

import pika
from pika.exceptions import ChannelClosedByBroker

from taskqueue.errors import TopologyConflict
from taskqueue.message import CONTROL, YIELD
from taskqueue.topology import names
from taskqueue.topology.crew import Hand, Progress
from taskqueue.topology.survey import Work, look
from taskqueue.topology.verify import NOT_FOUND, PRECONDITION_FAILED, refused

_PATIENCE = 120.0
"""Seconds beyond the longest request in which consumers must let go."""
_ANSWER = 2.0
_LOOK = 0.1
_MOMENT = 0.5


def relieve(hand: Hand, work: Work, progress: Progress, *, drain: Callable[[], None]) -> None:
    """Ask the consumers to leave, `drain` the queue, and delete it once nobody has anything of it.

    A consumer stays one until it has settled all that it took, so a queue without consumers and
    without messages has nothing out. Raises TopologyConflict where one does not let go.
    """
    queue = work.queue.name
    deadline = time.monotonic() + work.queue.timeout + _PATIENCE
    most = 0
    # Gone with the connection, however that ends.
    hand.channel.queue_declare(names.asking(queue), exclusive=True)
    while True:
        drain()
        found = look(hand, queue)
        if found is None:
            return
        ready, consumers = found
        most = max(most, consumers)
        if consumers:
            if time.monotonic() > deadline:
                msg = f"{queue} still has {consumers} consumers that stay: stop them, then run it again"
                raise TopologyConflict(msg)
            progress(f"waiting for the consumers of {queue}", most - consumers, most)
            _ask(hand, queue, consumers)
        elif not ready and _still(hand, queue) and delete_empty(hand, queue, sure=work.classic):
            if most:
                progress(f"waiting for the consumers of {queue}", most, most)
            return


def _still(hand: Hand, queue: str) -> bool:
    """Look again after a moment: what came back too often is on its way to the dead queue."""
    hand.channel.connection.process_data_events(0)
    time.sleep(_MOMENT)
    return look(hand, queue) == (0, 0)


def delete_empty(hand: Hand, queue: str, *, sure: bool = False) -> bool:
    """Delete a queue that was seen to be empty and unused; `sure`: the broker looks once more itself.

    A quorum queue can't be deleted on that condition. Gives False where it holds something again.
    """
    try:
        hand.channel.queue_delete(queue, if_empty=sure, if_unused=sure)
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return True
        if error.reply_code == PRECONDITION_FAILED:
            return False
        raise refused(error) from error
    return True


def _ask(hand: Hand, queue: str, consumers: int) -> None:
    """Send each consumer the wish to let go; wait a little for all of them to do it."""
    properties = pika.BasicProperties(headers={CONTROL: YIELD})
    for _ in range(consumers):
        hand.channel.basic_publish("", queue, b"", properties)
    until = time.monotonic() + _ANSWER
    while time.monotonic() < until:
        found = look(hand, queue)
        if found is None or not found[1]:
            return
        hand.channel.connection.process_data_events(_LOOK)
