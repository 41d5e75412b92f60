"""The ladder that a task queue had before its settings changed, as far as it still exists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from taskqueue.management import Management
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.crew import Crew, Hand
from taskqueue.topology.ladder import BASE
from taskqueue.topology.plan import Exchange, Plan, Queue
from taskqueue.topology.verify import Conflict, exists

_COMMON = ("1", "2", "2.5", "5")
_DECADES = range(-3, 12)
_TARGET = "x-dead-letter-exchange"


@dataclass(frozen=True, slots=True)
class Rung:
    """A wait queue that exists: its TTL and the unit of its level, both as names write them."""

    ttl: str
    unit: str


@dataclass(frozen=True, slots=True)
class Former:
    """What exists of ladders under the name of one task queue, in the present shape or another."""

    rungs: tuple[Rung, ...]
    units: tuple[str, ...]
    """Of the level exchanges."""


def find(settings: Settings, queue: str, plan: Plan, conflicts: Iterable[Conflict], crew: Crew) -> Former:
    """Find the rungs and level exchanges of `queue`, whatever settings they were declared for.

    The management API lists them. Without it they are looked for by name: the decades of the
    resolution, of those that the conflicts tell, and of the common ones. A ladder that is missed
    then shares no name with the plan, so nothing is taken from it and it empties itself.
    """
    if settings.management_url is not None:
        management = Management(settings)
        queues, exchanges = management.queues(), management.exchanges()
        if queues is not None and exchanges is not None:
            return listed(queue, plan, queues, exchanges)
    return _probed(settings, queue, plan, conflicts, crew)


def listed(
    queue: str, plan: Plan, queues: Iterable[Mapping[str, Any]], exchanges: Iterable[Mapping[str, Any]]
) -> Former:
    """Read them from what the management API lists."""
    timed = re.compile(re.escape(f"{queue}.wait.") + r"(\d+(?:\.\d+)?s)")
    planned = {each.name: each for each in plan.queues}
    rungs = []
    for each in queues:
        if found := timed.fullmatch(each["name"]):
            target = str((each.get("arguments") or {}).get(_TARGET))
            leads = timed.fullmatch(target)
            if leads or each["name"] in planned:
                rungs.append(Rung(found[1], leads[1] if leads else unit_of(queue, planned[each["name"]])))
    ways = [found[1] for each in exchanges if (found := timed.fullmatch(each["name"]))]
    return Former(tuple(rungs), tuple(ways))


def unit_of(queue: str, rung: Queue) -> str:
    """Give the unit of the level that a planned rung is on."""
    return str(rung.arguments[_TARGET]).removeprefix(names.level_exchange(queue, ""))


def _probed(settings: Settings, queue: str, plan: Plan, conflicts: Iterable[Conflict], crew: Crew) -> Former:
    prefix = names.level_exchange(queue, "")
    told = {
        each.argument: each.current.removeprefix(prefix).removesuffix("s")
        for conflict in conflicts
        for each in conflict.differences
        if each.argument == _TARGET and each.current is not None and each.current.startswith(prefix)
    }
    bases = {_mantissa(Decimal(each)) for each in (*_COMMON, *told.values())}
    bases.add(_mantissa(settings.resolution))
    candidates = sorted({base.scaleb(decade) for base in bases for decade in _DECADES})
    exchanges = [Exchange(f"{prefix}{names.seconds(unit)}") for unit in candidates]
    there = crew.each("looking for the former ladder", exists, exchanges)
    units = [unit for unit, found in zip(candidates, there, strict=True) if found]
    rungs = [
        Rung(names.seconds(unit * digit), names.seconds(unit)) for unit in units for digit in range(1, BASE)
    ]
    present = crew.each("looking for the former rungs", _is_there(queue), rungs)
    found_rungs = tuple(rung for rung, found in zip(rungs, present, strict=True) if found)
    return Former(_one_each(queue, plan, found_rungs, conflicts), tuple(map(names.seconds, units)))


def _one_each(
    queue: str, plan: Plan, rungs: tuple[Rung, ...], conflicts: Iterable[Conflict]
) -> tuple[Rung, ...]:
    """Settle what is on two ladders by name: conflicts tell where they lead, others are as planned."""
    prefix = names.level_exchange(queue, "")
    units = {each.name: unit_of(queue, each) for each in plan.queues if each.name.startswith(prefix)}
    for conflict in conflicts:
        for each in conflict.differences:
            if each.argument == _TARGET and each.current is not None:
                units[conflict.item.name] = each.current.removeprefix(prefix)
    by_ttl = {rung.ttl: rung for rung in rungs}
    return tuple(
        Rung(ttl, units.get(names.wait_queue(queue, ttl), rung.unit)) for ttl, rung in by_ttl.items()
    )


def _is_there(queue: str) -> Any:
    def look(hand: Hand, rung: Rung) -> bool:
        return exists(hand, Queue(names.wait_queue(queue, rung.ttl)))

    return look


def _mantissa(value: Decimal) -> Decimal:
    """Give the digits of a resolution as a number from 1 up to 10."""
    return value.scaleb(-value.adjusted()).normalize()


def units_below(unit: str, units: Iterable[str]) -> Iterator[str]:
    """Yield the units of the levels below that of `unit`, on the same ladder."""
    for other in units:
        if number(other) < number(unit) and _mantissa(number(other)) == _mantissa(number(unit)):
            yield other


def number(seconds: str) -> Decimal:
    """Read the seconds of a name."""
    return Decimal(seconds.removesuffix("s"))
