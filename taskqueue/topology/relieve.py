"""Get a work queue out of the hands of its consumers, so that it can be replaced."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import pika
from pika.exceptions import ChannelClosedByBroker

from taskqueue.errors import TopologyConflict
from taskqueue.management import Management
from taskqueue.message import CONTROL, YIELD
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.crew import Hand, Progress
from taskqueue.topology.survey import Work, look
from taskqueue.topology.verify import NOT_FOUND, PRECONDITION_FAILED, refused

_PATIENCE = 120.0
"""Seconds beyond the longest request in which consumers must let go."""
_ANSWER = 2.0
_LOOK = 0.1
_MOMENT = 0.5
_UNDER_WAY = 2.0
"""Seconds in which a quorum queue hands on what has expired: it counts as ready no more."""
_LONGEST_UNDER_WAY = 60.0


def relieve(
    hand: Hand, work: Work, progress: Progress, *, drain: Callable[[], None], lead_aside: Callable[[], None]
) -> None:
    """Ask the consumers to leave, `drain` the queue, and delete it once nobody has anything of it.

    `lead_aside` ends every way into it, once they have left: what took both ways is found in both
    queues, and not run in one and parked in the other. A consumer stays one until it has settled all
    that it took, so a queue without consumers and without messages has nothing out. Raises
    TopologyConflict where one does not let go.
    """
    queue = work.queue.name
    deadline = time.monotonic() + work.queue.timeout + _PATIENCE
    most, led = 0, False
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
        elif not led:
            lead_aside()
            led = True
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


def await_handed_on(hand: Hand, settings: Settings, queues: Collection[str]) -> None:
    """Wait until what has expired in these queues has left them; only the management API can tell.

    Raises TopologyConflict where it does not leave.
    """
    time.sleep(_UNDER_WAY)
    if settings.management_url is None:
        return
    management, deadline = Management(settings), time.monotonic() + _LONGEST_UNDER_WAY
    while held := [
        each["name"]
        for each in management.queues() or ()
        if each["name"] in queues and each.get("messages_dlx", 0)
    ]:
        if time.monotonic() > deadline:
            msg = f"{held[0]} is still handing on messages that have expired: run the command again later"
            raise TopologyConflict(msg)
        hand.channel.connection.process_data_events(1)


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
