"""What is published for a message that moves: pure but for the clock that the last step asks."""

from __future__ import annotations

import hashlib
import time

from taskqueue import message as amqp
from taskqueue import task as state
from taskqueue.decide import INVALID, Dead
from taskqueue.message import CONTROL, Message, Publish
from taskqueue.settle import successors
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder, route
from taskqueue.topology.transfer import Successor

_MOST_REMEMBERED = 1_000_000
_BROKERS_COUNTS = frozenset({"x-delivery-count", "x-acquired-count", "CC", "BCC"})


def aside(queue: str, *, most: int = 0) -> Successor:
    """Park a message; with how often it was handed out without an answer, up to `most`.

    The broker counts anew in another queue. What the move itself adds must leave an attempt to a task
    that has done nothing, so `most` is less than the delivery limit.
    """
    unreadable = unfit(queue)

    def successor(message: Message) -> Publish | None:
        if message.fault is not None:
            return unreadable(message)
        if CONTROL in message.headers:
            return None
        return Publish("", (names.moving(queue),), _copy(message, most))

    return successor


def onward(queue: str, ladder: Ladder) -> Successor:
    """Publish a parked message for its own due time; what was parked twice, once.

    A message is, when an interrupted run had not acked it yet, and when it was published while its
    key led to two queues.
    """
    seen: set[bytes] = set()

    def successor(message: Message) -> Publish | None:
        mark = _mark(message)
        if mark in seen:
            return None
        if mark is not None and len(seen) < _MOST_REMEMBERED:
            seen.add(mark)
        exchange, keys = route(queue, ladder, due(message), time.time())
        return Publish(exchange, keys, _copy(message))

    return successor


def as_it_is(target: str) -> Successor:
    """Publish a dead message to the queue `target`, with what the broker wrote about its death."""

    def successor(message: Message) -> Publish:
        headers = {name: value for name, value in message.headers.items() if name not in _BROKERS_COUNTS}
        return Publish("", (target,), Message(message.body, headers, amqp.kept(message.properties)))

    return successor


def unfit(queue: str) -> Successor:
    """Make a message whose headers can't be read or written again a dead one, as the consumer does."""

    def successor(message: Message) -> Publish:
        error = f"headers: {message.fault or 'can not be encoded'}"
        bare = Message(message.body, {}, amqp.kept(message.properties))
        dead = Dead(INVALID, error, 0)
        return successors(bare, None, dead, queue=queue, ladder=Ladder(), now=time.time())[0]

    return successor


def due(message: Message) -> int:
    """Give when a message is due (ms since the epoch), 0 where only a consumer can tell."""
    value = message.headers.get(state.DUE)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _copy(message: Message, most: int = 0) -> Message:
    headers = amqp.stripped(message.headers)
    counts = (message.headers.get(name, 0) for name in (amqp.DELIVERIES, state.CRASHES))
    counted = min(most, sum(count for count in counts if isinstance(count, int)))
    if counted > 0:
        headers[state.CRASHES] = counted
    return Message(message.body, headers, amqp.kept(message.properties))


def _mark(message: Message) -> bytes | None:
    """Tell one publish of a task from all others; None where it has no id or due time of its own."""
    identity = message.properties.get("message_id")
    if not identity or not due(message):
        return None
    about = f"{identity}\0{due(message)}\0{message.headers.get(state.RUNS)}\0".encode(errors="surrogatepass")
    return hashlib.blake2b(about + message.body, digest_size=12).digest()
