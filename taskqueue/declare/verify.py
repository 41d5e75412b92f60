"""Compare a plan with what the broker has: what is missing, and what exists but differs."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import PRECONDITION_FAILED, RESOURCE_LOCKED, Refused
from taskqueue.broker.session import CHANNELS, Progress, Session
from taskqueue.errors import AccessRefused, TopologyConflict
from taskqueue.topology import names
from taskqueue.topology.plan import Exchange, Plan, Queue

_MOST_DIFFERENCES = 12
_SHOWN = 3
_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']*)' for (?:queue|exchange) '.*': "
    r"received (?P<wanted>.*) but current is (?P<current>.*)$"
)
_VALUE = re.compile(r"(?:the value )?'(?P<value>.*?)'(?: of type '\w+')?$")


@dataclass(frozen=True, slots=True)
class Difference:
    """One argument that should have another value; None where there is no value."""

    argument: str
    wanted: str | None
    current: str | None

    def __str__(self) -> str:
        """Give both values."""
        return f"{self.argument} is {_said(self.current)} and should be {_said(self.wanted)}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """Something that exists under a planned name with other settings."""

    item: Exchange | Queue
    differences: tuple[Difference, ...]
    told: str
    """The broker's own words, for a conflict that names no argument."""

    def __str__(self) -> str:
        """Tell in one line what exists and what should exist."""
        found = ", ".join(map(str, self.differences)) or self.told
        return f"{self.item.kind} {self.item.name!r} exists with other settings: {found}"

    @property
    def type(self) -> str | None:
        """The type of the queue where it differs. `declare --migrate` mends that."""
        return next((each.current for each in self.differences if each.argument == "x-queue-type"), None)

    @property
    def of_type(self) -> bool:
        """Whether the type of the queue differs."""
        return any(each.argument == "x-queue-type" for each in self.differences)

    @property
    def advice(self) -> str:
        """Say what to do about it."""
        if isinstance(self.item, Exchange):
            return "delete the exchange, or give the task queue another name"
        if names.is_historys(self.item.name):
            return (
                "what a stream keeps is an argument of it: restore history and history_bytes, or delete "
                f"{self.item.name!r} with what it holds; a policy may change it as well (docs/history.md)"
            )
        if any(each.argument == "x-queue-type" and each.wanted == "quorum" for each in self.differences):
            return (
                f"{self.item.name!r} is a classic queue, perhaps declared by an application: let that one "
                "publish only or declare passively and run 'taskqueue declare --migrate', which takes along "
                "what waits there, or set queue_type = classic"
            )
        if self.of_type:
            return (
                "run 'taskqueue declare --migrate', which takes along what waits there, or restore queue_type"
            )
        return "somebody else has declared the queue: delete it, or give the task queue another name"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the broker has of a plan, and what it has with other settings."""

    plan: Plan
    existing: frozenset[Exchange | Queue]
    conflicts: tuple[Conflict, ...]
    unseen: frozenset[Exchange | Queue] = frozenset()
    """What the user may not look at: from 4.2.7 and 4.3.1 on that takes a permission on it, whichever."""

    @property
    def missing(self) -> list[Exchange | Queue]:
        """What does not exist, as far as the user may look."""
        return [item for item in self.plan.items if item not in self.existing | self.unseen]

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
    """A declaration that takes over, step by step, the values that the broker has."""

    def __init__(self, item: Exchange | Queue) -> None:
        self._name = item.name
        self._type = item.type if isinstance(item, Exchange) else None
        self._arguments: dict[str, Any] = dict(item.arguments)
        self._flags = {"durable": True}

    async def declare(self, channel: Channel) -> None:
        """Declare it: nothing happens where it equals what exists, 406 where it does not."""
        if self._type is None:
            await channel.ask("queue_declare", self._name, arguments=self._arguments, **self._flags)
        else:
            await channel.ask(
                "exchange_declare", self._name, self._type, arguments=self._arguments, **self._flags
            )

    def adopt(self, argument: str, current: str | None) -> None:
        """Take over the broker's value of one argument."""
        if argument == "type":
            self._type = current
        elif argument in {"durable", "auto_delete", "exclusive", "internal"}:
            self._flags[argument] = current == "true"
        elif current is None:
            self._arguments.pop(argument, None)
        else:
            self._arguments[argument] = int(current) if current.isdecimal() else current


async def examine(
    session: Session,
    plan: Plan,
    progress: Progress | None = None,
    *,
    gone: Container[Exchange | Queue],
    compared: bool = True,
    at_once: int = CHANNELS,
) -> Findings:
    """Look at everything of the plan that is not `gone`, as `absent` says; creates and changes nothing.

    What is there is `compared` with the plan, which takes the right to declare it. Raises BrokerRefused where
    the broker does not let us look, NotKnown where it does not answer.
    """

    async def compare(session: Session, item: Exchange | Queue) -> Conflict | bool | None:
        try:
            if item in gone or not await session.exists(item.kind, item.name):
                return False
        except AccessRefused:
            if compared:
                raise
            return None
        differences, told = await _differences(session, item) if compared else ((), "")
        return Conflict(item, differences, told) if told else True

    found = await session.each("verifying", compare, plan.items, progress, at_once=at_once)
    return Findings(
        plan=plan,
        existing=frozenset(item for item, there in zip(plan.items, found, strict=True) if there),
        conflicts=tuple(there for there in found if isinstance(there, Conflict)),
        unseen=frozenset(item for item, there in zip(plan.items, found, strict=True) if there is None),
    )


async def _differences(session: Session, item: Exchange | Queue) -> tuple[tuple[Difference, ...], str]:
    """Find what differs. The broker names one argument at a time, so take its value over and ask again."""
    attempt = _Attempt(item)
    found: dict[str, Difference] = {}
    answer = ""
    for _ in range(_MOST_DIFFERENCES):
        try:
            async with session.channel() as channel:
                await attempt.declare(channel)
        except Refused as error:
            if error.code not in {PRECONDITION_FAILED, RESOURCE_LOCKED}:
                raise error.told() from error
            answer = error.reason
        else:
            break
        told = _INEQUIVALENT.search(answer)
        if told is None or told["argument"] in found:
            break
        argument = told["argument"]
        wanted, current = _value(argument, told["wanted"]), _value(argument, told["current"])
        found[argument] = Difference(argument, wanted, current)
        attempt.adopt(argument, current)
    # The type of a queue explains the other differences.
    return tuple(sorted(found.values(), key=lambda each: each.argument != "x-queue-type")), answer


def _said(value: str | None) -> str:
    return "not set" if value is None else repr(value)


def _value(argument: str, told: str) -> str | None:
    """Read a value as RabbitMQ writes it: ``none``, ``'20'``, ``the value '20' of type 'signedint'``."""
    found = _VALUE.match(told)
    value = found["value"] if found else None
    # 4.3 writes an age in milliseconds, and takes none without a unit.
    bare = argument == "x-max-age" and value is not None and value.isdigit()
    return f"{int(value) // 1000}s" if bare and value else value
