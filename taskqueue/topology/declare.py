"""Make the broker have what the configuration says: verify first, so that a conflict changes nothing."""

from __future__ import annotations

from functools import partial

from pika.exceptions import ChannelClosedByBroker

from taskqueue.broker import connect, require_version
from taskqueue.errors import TopologyConflict
from taskqueue.settings import Settings
from taskqueue.topology.crew import CONNECTIONS, Crew, Hand, Progress
from taskqueue.topology.plan import Binding, Exchange, Queue, plan
from taskqueue.topology.verify import PRECONDITION_FAILED, Findings, examine, refused

_NAME = "taskqueue declare"


def silent(_step: str, _done: int, _total: int) -> None:
    """Report no progress."""


def declare(settings: Settings, *, progress: Progress = silent) -> Findings:
    """Verify what exists of every queue, then create what is missing; gives what was there before.

    Doing it again changes nothing. Raises TopologyConflict before anything is changed where
    something exists with other settings, BrokerRefused where a permission is missing or the
    broker is too old, BrokerUnreachable.
    """
    findings = verify(settings, progress=progress)
    findings.require_none()
    apply(settings, findings, progress=progress)
    return findings


def verify(settings: Settings, *, progress: Progress = silent) -> Findings:
    """Compare what the broker has with the configuration; creates and changes nothing.

    Raises BrokerRefused and BrokerUnreachable as `declare` does.
    """
    with connect(settings, name=_NAME) as connection:
        require_version(connection)
    return examine(crew(settings, progress), plan(settings))


def apply(settings: Settings, findings: Findings, *, progress: Progress = silent) -> None:
    """Create what is missing, exchanges before queues before bindings: no way ever leads nowhere.

    Bindings can't be looked at, and making one again is harmless, so all of them are made.
    Raises BrokerRefused, or TopologyConflict where someone else declares at the same time.
    """
    missing = [exchange for exchange in findings.plan.exchanges if exchange not in findings.existing]
    absent = [queue for queue in findings.plan.queues if queue not in findings.existing]
    hands = crew(settings, progress)
    hands.each("creating exchanges", _create, missing)
    hands.each("creating queues", _create, absent)
    hands.each("binding", _bind, findings.plan.bindings)


def crew(settings: Settings, progress: Progress, connections: int = CONNECTIONS) -> Crew:
    """Make a crew for the broker of the configuration."""
    return Crew(partial(connect, settings, name=_NAME), progress, connections)


def _create(hand: Hand, item: Exchange | Queue) -> None:
    try:
        if isinstance(item, Exchange):
            hand.channel.exchange_declare(item.name, item.type, durable=True)
        else:
            hand.channel.queue_declare(item.name, durable=True, arguments=dict(item.arguments))
    except ChannelClosedByBroker as error:
        if error.reply_code != PRECONDITION_FAILED:
            raise refused(error) from error
        msg = f"{item.name!r} was declared by someone else just now ({error.reply_text}): declare again"
        raise TopologyConflict(msg) from error


def _bind(hand: Hand, binding: Binding) -> None:
    try:
        hand.channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    except ChannelClosedByBroker as error:
        raise refused(error) from error
