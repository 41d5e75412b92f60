"""Have a routing key lead to another queue than before."""

from __future__ import annotations

from pika.exceptions import ChannelClosedByBroker

from taskqueue.topology.crew import Hand
from taskqueue.topology.declare import bind
from taskqueue.topology.plan import Binding
from taskqueue.topology.verify import refused
from taskqueue.topology.ways import Way


def lead(hand: Hand, way: Way) -> None:
    """Bind one queue and unbind the others, right after each other.

    What is published between is in both: no key may lead nowhere, not for a moment.
    """
    bind(hand, Binding(way.exchange, way.queue, way.key))
    for queue in way.instead_of:
        _unbind(hand, queue, way.exchange, way.key)


def lead_home(hand: Hand, binding: Binding, *, away: tuple[str, ...]) -> None:
    """Bind as planned, and end the ways to the queues `away`."""
    lead(hand, Way(binding.exchange, binding.routing_key, binding.queue, away))


def _unbind(hand: Hand, queue: str, exchange: str, key: str) -> None:
    try:
        hand.channel.queue_unbind(queue, exchange, key)
    except ChannelClosedByBroker as error:
        raise refused(error) from error
