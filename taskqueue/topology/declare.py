"""Make the broker have what a plan says: verify first, so that a conflict changes nothing."""

from __future__ import annotations

from pika.exceptions import ChannelClosedByBroker

from taskqueue.errors import TopologyConflict
from taskqueue.topology.crew import CONNECTIONS, Connect, Crew, Hand, Progress
from taskqueue.topology.plan import Binding, Exchange, Plan, Queue
from taskqueue.topology.verify import PRECONDITION_FAILED, Findings, examine, refused


def declare(
    connect: Connect,
    plan: Plan,
    *,
    progress: Progress = lambda _step, _done, _total: None,
    connections: int = CONNECTIONS,
) -> Findings:
    """Verify everything that exists, then create what is missing; gives what was there before.

    Doing it again changes nothing. Raises TopologyConflict before anything is changed where
    something exists with other settings, BrokerRefused where a permission is missing.
    """
    crew = Crew(connect, progress, connections)
    findings = examine(crew, plan)
    findings.require_none()
    apply(crew, plan, findings)
    return findings


def apply(crew: Crew, plan: Plan, findings: Findings) -> None:
    """Create what is missing, exchanges before queues before bindings: a crash leaves no way into nowhere.

    Bindings can't be looked at, and making one again is harmless, so all of them are made.
    """
    missing = [exchange for exchange in plan.exchanges if exchange not in findings.existing]
    crew.each("exchanges", _create, missing)
    crew.each("queues", _create, [queue for queue in plan.queues if queue not in findings.existing])
    crew.each("bindings", _bind, plan.bindings)


def _create(hand: Hand, item: Exchange | Queue) -> None:
    try:
        if isinstance(item, Exchange):
            hand.channel.exchange_declare(item.name, item.type, durable=True)
        else:
            hand.channel.queue_declare(item.name, durable=True, arguments=dict(item.arguments))
    except ChannelClosedByBroker as error:
        if error.reply_code != PRECONDITION_FAILED:
            raise refused(error) from error
        msg = f"someone else declared {item.name!r} in this moment ({error.reply_text}): declare again"
        raise TopologyConflict(msg) from error


def _bind(hand: Hand, binding: Binding) -> None:
    try:
        hand.channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    except ChannelClosedByBroker as error:
        raise refused(error) from error
