"""Compare a plan with what the broker has: what is missing, and what is there but different."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker

from taskqueue.errors import BrokerRefused, TopologyConflict
from taskqueue.topology.crew import Crew, Hand
from taskqueue.topology.plan import Exchange, Plan, Queue

ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
_MOST_DIFFERENCES = 12
_SHOWN = 2
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']*)' for (?:queue|exchange) '.*': "
    r"received (?P<wanted>.*) but current is (?P<current>.*)$"
)
_VALUE = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '\w+')?$")


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that should have another value; None where there is no value."""

    argument: str
    wanted: str | None
    current: str | None

    def __str__(self) -> str:
        """Give both values."""
        return f"{self.argument} is {_said(self.current)} and should be {_said(self.wanted)}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that exists under a planned name, and not as it is planned."""

    item: Exchange | Queue
    differences: tuple[Difference, ...]
    told: str
    """The broker's own words, for when they name no property."""

    def __str__(self) -> str:
        """Tell what it is and what it should be, in one line."""
        found = ", ".join(map(str, self.differences)) or self.told
        return f"{self.item.kind} {self.item.name!r} exists with other settings: {found}"

    @property
    def advice(self) -> str:
        """Say what to do about it."""
        if isinstance(self.item, Exchange):
            return "delete the exchange, or give the task queue another name"
        if any(each.argument == "x-queue-type" and each.wanted == "quorum" for each in self.differences):
            return (
                f"{self.item.name!r} is a classic queue, declared by an application perhaps: let that one "
                "publish only or declare passively and run 'taskqueue declare --migrate', which takes along "
                "what waits there, or set queue_type = classic"
            )
        return (
            "run 'taskqueue declare --migrate', which takes what waits there along, or restore the settings"
        )


@dataclass(frozen=True, slots=True)
class Findings:
    """What the broker has of a plan, and what it has in another shape."""

    plan: Plan
    existing: frozenset[Exchange | Queue]
    conflicts: tuple[Conflict, ...]

    def require_none(self) -> None:
        """Raise TopologyConflict where anything conflicts: it names the first few."""
        if not self.conflicts:
            return
        told = "; ".join(map(str, self.conflicts[:_SHOWN]))
        more = len(self.conflicts) - _SHOWN
        rest = f"; and {more} more, which 'taskqueue declare --dry-run' lists" if more > 0 else ""
        advice = "; or ".join(dict.fromkeys(conflict.advice for conflict in self.conflicts[:_SHOWN]))
        msg = f"nothing was changed: {told}{rest}. What to do: {advice}"
        raise TopologyConflict(msg)


class _Attempt:
    """A declaration that is changed step by step into what the broker has."""

    def __init__(self, item: Exchange | Queue) -> None:
        self._name = item.name
        self._type = item.type if isinstance(item, Exchange) else None
        self._arguments: dict[str, Any] = {} if isinstance(item, Exchange) else dict(item.arguments)
        self._flags = {"durable": True}

    def declare(self, channel: BlockingChannel) -> None:
        """Make it: nothing happens where it equals what exists, 406 where it does not."""
        if self._type is None:
            channel.queue_declare(self._name, arguments=self._arguments, **self._flags)
        else:
            channel.exchange_declare(self._name, self._type, arguments=self._arguments, **self._flags)

    def adopt(self, argument: str, current: str | None) -> None:
        """Take over the broker's value of one property."""
        if argument == "type":
            self._type = current
        elif not argument.startswith("x-"):
            self._flags[argument] = current == "true"
        elif current is None:
            self._arguments.pop(argument, None)
        else:
            self._arguments[argument] = int(current) if current.isdecimal() else current


def examine(crew: Crew, plan: Plan) -> Findings:
    """Look at everything of the plan that can be looked at; creates and changes nothing.

    Raises BrokerRefused where the broker does not let us look.
    """
    items: tuple[Exchange | Queue, ...] = plan.exchanges + plan.queues
    found = crew.each("verifying", _compare, items)
    return Findings(
        plan=plan,
        existing=frozenset(item for item, there in zip(items, found, strict=True) if there),
        conflicts=tuple(there for there in found if isinstance(there, Conflict)),
    )


def exists(hand: Hand, item: Exchange | Queue) -> bool:
    """Tell whether there is an exchange or queue of this name, whatever its settings."""
    try:
        if isinstance(item, Exchange):
            hand.channel.exchange_declare(item.name, passive=True)
        else:
            hand.channel.queue_declare(item.name, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND and "NOT_FOUND - no " in error.reply_text:
            return False
        # A queue of another connection can't be looked at, but it is there.
        if error.reply_code != RESOURCE_LOCKED:
            raise refused(error) from error
    return True


def refused(error: ChannelClosedByBroker) -> BrokerRefused:
    """Say what the broker said, and which permission it takes."""
    if error.reply_code == ACCESS_REFUSED:
        return BrokerRefused(
            f"{error.reply_text}: the user needs configure, write and read permission on "
            r"^Q(\..*)?$ for each queue Q (rabbitmqctl set_permissions)"
        )
    return BrokerRefused(f"the broker refused: {error.reply_text}")


def _compare(hand: Hand, item: Exchange | Queue) -> Conflict | bool:
    """Tell whether the item exists, or how it conflicts."""
    if not exists(hand, item):
        return False
    differences, told = _differences(hand, item)
    return Conflict(item, differences, told) if told else True


def _differences(hand: Hand, item: Exchange | Queue) -> tuple[tuple[Difference, ...], str]:
    """Find what differs: the broker names one property at a time, so take its value over and ask again."""
    attempt = _Attempt(item)
    found: dict[str, Difference] = {}
    answer = ""
    for _ in range(_MOST_DIFFERENCES):
        try:
            attempt.declare(hand.channel)
        except ChannelClosedByBroker as error:
            if error.reply_code not in {PRECONDITION_FAILED, RESOURCE_LOCKED}:
                raise refused(error) from error
            answer = error.reply_text
        else:
            break
        told = _INEQUIVALENT.search(answer)
        if told is None or told["argument"] in found:
            break
        wanted, current = _value(told["wanted"]), _value(told["current"])
        found[told["argument"]] = Difference(told["argument"], wanted, current)
        attempt.adopt(told["argument"], current)
    # What kind of queue it is explains the rest.
    return tuple(sorted(found.values(), key=lambda each: each.argument != "x-queue-type")), answer


def _said(value: str | None) -> str:
    return "not set" if value is None else repr(value)


def _value(told: str) -> str | None:
    """Read a value as RabbitMQ writes it: ``none``, ``'20'``, ``the value '20' of type 'signedint'``."""
    found = _VALUE.match(told)
    return found["value"] if found else None
