"""Make the broker have what the configuration says: verify first, so that a conflict changes nothing."""

from __future__ import annotations

from functools import partial

from pika.exceptions import ChannelClosedByBroker

from taskqueue.broker import connect, require_version
from taskqueue.errors import TopologyConflict
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.crew import CONNECTIONS, Crew, Hand, Progress
from taskqueue.topology.plan import Binding, Exchange, Queue, plan, plan_queue
from taskqueue.topology.verify import PRECONDITION_FAILED, Findings, examine, exists, refused

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
    former = set(filter(None, hands.each("looking for migrations", _former_keys, tuple(settings.queues))))
    hands.each("creating exchanges", create, missing)
    hands.each("creating queues", create, absent)
    bindings = findings.plan.bindings
    if not former:
        hands.each("binding", bind, bindings)
        return
    owners = {way.exchange: queue for queue in former for way in _own(settings, queue)}
    hands.each("binding", partial(_rebind, owners=owners), bindings)
    ways = [Binding(names.wait_exchange(queue), queue, names.hop(names.STALE, names.DUE)) for queue in former]
    hands.each("binding", bind, ways)


def crew(settings: Settings, progress: Progress, connections: int = CONNECTIONS) -> Crew:
    """Make a crew for the broker of the configuration."""
    return Crew(partial(connect, settings, name=_NAME), progress, connections)


def create(hand: Hand, item: Exchange | Queue) -> None:
    """Create an exchange or a queue; raises TopologyConflict where it exists with other settings."""
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


def bind(hand: Hand, binding: Binding) -> None:
    """Bind a queue; again changes nothing."""
    try:
        hand.channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    except ChannelClosedByBroker as error:
        raise refused(error) from error


def _former_keys(hand: Hand, queue: str) -> str | None:
    """Give the queue where keys of a former ladder still lead somewhere, None where they do not."""
    if exists(hand, Queue(names.moving(queue))) or exists(hand, Queue(names.moving(names.dead(queue)))):
        msg = f"{queue}: a migration was interrupted: run 'taskqueue declare --migrate' to finish it"
        raise TopologyConflict(msg)
    return queue if exists(hand, Queue(names.stale(queue))) else None


def _own(settings: Settings, queue: str) -> tuple[Binding, ...]:
    return plan_queue(settings.queues[queue], settings.ladder, settings.queue_type).bindings


def _rebind(hand: Hand, binding: Binding, *, owners: dict[str, str]) -> None:
    """Bind, and end the way that a migration gave this key when no ladder had it: one copy is enough."""
    bind(hand, binding)
    if owner := owners.get(binding.exchange):
        hand.channel.queue_unbind(names.stale(owner), binding.exchange, binding.routing_key)
