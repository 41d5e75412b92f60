"""Remove what was declared for a configuration that has changed since: only what is empty and unused.

What belongs to one queue is removed together or not at all: a task on an old ladder still needs
every rung of it, and the work queue at its end.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from taskqueue.errors import BrokerUnreachable, ConfigError
from taskqueue.management import Management
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.crew import Crew, Hand
from taskqueue.topology.plan import plan
from taskqueue.topology.verify import NOT_FOUND, PRECONDITION_FAILED, refused

_TIMED = re.compile(r"(?P<owner>.+)\.wait\.(?P<ttl>\d+(\.\d+)?s)")
Listed = Mapping[str, Any]
"""A queue or an exchange as the management API lists it."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is left of one task queue; `busy` says why it has to stay, None where it can go."""

    owner: str
    queues: tuple[str, ...]
    exchanges: tuple[str, ...]
    """The last ones are those whose names show that the rest is ours."""
    busy: str | None = None


def leftovers(settings: Settings, only: Collection[str] | None = None) -> tuple[Leftover, ...]:
    """Find what the virtual host has under our naming scheme and the configuration does not name.

    `only` limits it to those task queues. Raises ConfigError without `management_url`, as AMQP
    itself can't list anything, and BrokerUnreachable where the API does not answer.
    """
    if settings.management_url is None:
        raise ConfigError("--prune: needs 'management_url' in the configuration: AMQP can't list what exists")
    management = Management(settings)
    queues, exchanges = management.queues(), management.exchanges()
    if queues is None or exchanges is None:
        raise BrokerUnreachable(f"{management.fault}: --prune can't find what is left over")
    found = sorted_out(settings, queues, exchanges)
    return tuple(each for each in found if only is None or each.owner in only)


def sorted_out(
    settings: Settings, queues: Iterable[Listed], exchanges: Iterable[Listed]
) -> tuple[Leftover, ...]:
    """Sort what is listed by the task queue that it belongs to; what the plan has is left out.

    A wait queue or a level exchange shows that a task queue was ours. Without one nothing is
    touched: applications of every kind have a queue `orders` and another `orders.dead`.
    """
    planned = plan(settings)
    kept = {queue.name for queue in planned.queues}
    spare = {queue["name"]: queue for queue in queues if queue.get("durable") and queue["name"] not in kept}
    kept = {exchange.name for exchange in planned.exchanges}
    ways = {
        each["name"]: each["type"] for each in exchanges if each.get("durable") and each["name"] not in kept
    }

    rungs: dict[str, list[str]] = {}
    for name, queue in spare.items():
        if owner := _rung_owner(queue):
            rungs.setdefault(owner, []).append(name)
    levels: dict[str, list[str]] = {}
    for name, kind in ways.items():
        if kind == "direct" and (found := _TIMED.fullmatch(name)):
            levels.setdefault(found["owner"], []).append(name)

    owners = sorted(rungs.keys() | levels.keys())
    return tuple(
        _leftover(owner, rungs.get(owner, []), levels.get(owner, []), spare, ways) for owner in owners
    )


def prune(crew: Crew, found: Iterable[Leftover]) -> tuple[Leftover, ...]:
    """Remove what can go; gives each with `busy` set where it turned out to be in use by now.

    Quorum queues can't be deleted on the condition that they are empty, so each is looked at
    right before: stop what publishes to a queue before you prune it.
    """
    return tuple(crew.each("pruning", _prune, [each for each in found if each.busy is None]))


def _rung_owner(queue: Listed) -> str | None:
    """Name the task queue of a wait queue; the name alone is no proof, its arguments are."""
    found = _TIMED.fullmatch(queue["name"])
    arguments = queue.get("arguments") or {}
    if owner := _stale_owner(queue["name"], arguments):
        return owner
    if found is None or arguments.get("x-message-ttl") != Decimal(found["ttl"].removesuffix("s")) * 1000:
        return None
    target = str(arguments.get("x-dead-letter-exchange"))
    return found["owner"] if target.startswith(f"{names.wait_exchange(found['owner'])}.") else None


def _stale_owner(name: str, arguments: Mapping[str, Any]) -> str | None:
    """Name the task queue that a migration made the queue for, None where it did not."""
    owner = name.removesuffix(names.stale(""))
    if names.stale(owner) != name or arguments.get("x-dead-letter-exchange") != names.wait_exchange(owner):
        return None
    return owner


def _leftover(
    owner: str, rungs: list[str], levels: list[str], spare: Mapping[str, Listed], ways: Mapping[str, str]
) -> Leftover:
    queues = list(rungs)
    work = spare.get(owner)
    if work and (work.get("arguments") or {}).get("x-dead-letter-exchange") == names.dead(owner):
        queues += [name for name in (names.dead(owner), owner) if name in spare]
    exchanges = [name for name in (names.dead(owner), names.wait_exchange(owner)) if name in ways]
    # What a migration has put aside still needs all of it, once that is finished.
    parked = [name for name in _parking(owner) if name in spare]
    busy = next((told for name in (*queues, *parked) if (told := _busy(spare[name]))), None)
    return Leftover(owner, tuple(queues), (*exchanges, *levels), busy)


def _parking(owner: str) -> tuple[str, str]:
    return names.moving(owner), names.moving(names.dead(owner))


def _busy(queue: Listed) -> str | None:
    # Those that a quorum queue is handing on right now are in neither of the other counts.
    messages = queue.get("messages", 0) + queue.get("messages_dlx", 0)
    return _told(queue["name"], messages, queue.get("consumers", 0))


def _told(queue: str, messages: int, consumers: int) -> str | None:
    if messages:
        return f"queue {queue!r} holds {messages} messages"
    return f"queue {queue!r} has {consumers} consumers" if consumers else None


def _prune(hand: Hand, found: Leftover) -> Leftover:
    for queue in (*found.queues, *_parking(found.owner)):
        if busy := _look(hand, queue):
            return replace(found, busy=busy)
    try:
        for queue in found.queues:
            if busy := _look(hand, queue):
                return replace(found, busy=busy)
            hand.channel.queue_delete(queue)
        for exchange in found.exchanges:
            _remove_exchange(hand, exchange, found.owner)
    except ChannelClosedByBroker as error:
        if error.reply_code != PRECONDITION_FAILED:
            raise refused(error) from error
        return replace(found, busy=error.reply_text)
    return found


def _look(hand: Hand, queue: str) -> str | None:
    try:
        counted = hand.channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return None
        raise refused(error) from error
    return _told(queue, counted.message_count, counted.consumer_count)


def _remove_exchange(hand: Hand, exchange: str, owner: str) -> None:
    """Remove it where nothing is bound to it any more but the work queue, by our own last hop."""
    if timed := _TIMED.fullmatch(exchange):
        hand.channel.queue_unbind(owner, exchange, names.hop(timed["ttl"], names.DUE))
    hand.channel.exchange_delete(exchange, if_unused=True)
