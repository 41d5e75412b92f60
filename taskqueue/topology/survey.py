"""What `declare --migrate` has to do for one task queue, as data: found by looking, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pika.exceptions import ChannelClosedByBroker

from taskqueue.errors import TopologyConflict
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.crew import Crew, Hand
from taskqueue.topology.former import Former, find, number, unit_of
from taskqueue.topology.plan import Exchange, Plan, plan_queue
from taskqueue.topology.verify import NOT_FOUND, Conflict, Findings, refused

NEW_SETTINGS = "other settings"
NOT_NAMED = "no longer named by the configuration"
INTERRUPTED = "an interrupted migration"


@dataclass(frozen=True, slots=True)
class Emptied:
    """A queue that is emptied: its messages move, then it is removed or replaced."""

    name: str
    messages: int
    why: str


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to do for one task queue; `rungs` holds those that are emptied."""

    queue: QueueSettings
    plan: Plan
    former: Former
    rungs: tuple[Emptied, ...]
    work: Emptied | None
    dead: Emptied | None
    parked: tuple[Emptied, ...]
    classic: bool
    """The work queue as it is now: a classic one can be removed on the condition that it is empty."""

    @property
    def emptied(self) -> tuple[Emptied, ...]:
        """List every queue that is emptied."""
        return (*self.rungs, *(each for each in (self.work, self.dead) if each is not None), *self.parked)

    @property
    def obsolete(self) -> tuple[str, ...]:
        """List the level exchanges that the plan does not have."""
        planned = {exchange.name for exchange in self.plan.exchanges}
        every = (names.level_exchange(self.queue.name, unit) for unit in self.former.units)
        return tuple(name for name in every if name not in planned)

    @property
    def units(self) -> tuple[str, ...]:
        """List the units of every level, former and planned."""
        prefix = names.level_exchange(self.queue.name, "")
        planned = (
            each.name.removeprefix(prefix) for each in self.plan.exchanges if each.name.startswith(prefix)
        )
        return tuple(dict.fromkeys((*self.former.units, *planned)))


def survey(settings: Settings, findings: Findings, crew: Crew) -> tuple[Work, ...]:
    """Find what there is to do; task queues with nothing to do are left out.

    Raises TopologyConflict where an exchange is in the way: it is none of ours.
    """
    for conflict in findings.conflicts:
        if isinstance(conflict.item, Exchange):
            msg = f"nothing was changed: {conflict}. What to do: {conflict.advice}"
            raise TopologyConflict(msg)
    every = (_survey(settings, queue, findings, crew) for queue in settings.queues.values())
    return tuple(work for work in every if work.emptied or work.obsolete)


def _survey(settings: Settings, queue: QueueSettings, findings: Findings, crew: Crew) -> Work:
    plan = plan_queue(queue, settings.ladder, settings.queue_type)
    planned = {each.name: each for each in plan.queues}
    conflicts = {each.item.name: each for each in findings.conflicts if each.item.name in planned}
    former = find(settings, queue.name, plan, conflicts.values(), crew)
    leftover = [names.wait_queue(queue.name, rung.ttl) for rung in former.rungs]
    leftover = [name for name in leftover if name not in planned]
    parking = [names.moving(queue.name), names.moving(names.dead(queue.name))]
    looked = (*conflicts, *leftover, *parking)
    counts = dict(zip(looked, crew.each("counting", ready, looked), strict=True))
    emptied = {name: Emptied(name, counts[name] or 0, _why(conflict)) for name, conflict in conflicts.items()}
    work = emptied.pop(queue.name, None)
    dead = emptied.pop(names.dead(queue.name), None)
    gone = (Emptied(name, counts[name] or 0, NOT_NAMED) for name in leftover)
    return Work(
        queue, plan, former, _shortest_first(queue.name, (*gone, *emptied.values())), work, dead,
        tuple(Emptied(name, count, INTERRUPTED) for name in parking if (count := counts[name]) is not None),
        classic=_is_classic(conflicts.get(queue.name), settings.queue_type),
    )  # fmt: skip


def _shortest_first(queue: str, rungs: Iterable[Emptied]) -> tuple[Emptied, ...]:
    """Order rungs so that those whose messages would soon move on are emptied first."""
    prefix = names.wait_queue(queue, "")
    return tuple(sorted(rungs, key=lambda each: number(each.name.removeprefix(prefix))))


def ready(hand: Hand, queue: str) -> int | None:
    """Count what is ready in a queue, None where there is no such queue."""
    found = look(hand, queue)
    return None if found is None else found[0]


def look(hand: Hand, queue: str) -> tuple[int, int] | None:
    """Count what is ready in a queue, and its consumers; None where there is no such queue."""
    try:
        method = hand.channel.queue_declare(queue, passive=True).method
    except ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return None
        raise refused(error) from error
    return method.message_count, method.consumer_count


def rung_units(work: Work) -> Mapping[str, str]:
    """Give the unit of the level that each rung leads to as it is now, by its TTL."""
    return {rung.ttl: rung.unit for rung in work.former.rungs}


def planned_units(work: Work) -> Mapping[str, str]:
    """Give the unit of the level that each planned rung leads to, by its TTL."""
    prefix = names.wait_queue(work.queue.name, "")
    return {
        each.name.removeprefix(prefix): unit_of(work.queue.name, each)
        for each in work.plan.queues
        if each.name.startswith(prefix)
    }


def _why(conflict: Conflict) -> str:
    return ", ".join(map(str, conflict.differences)) or NEW_SETTINGS


def _is_classic(conflict: Conflict | None, planned: str) -> bool:
    for each in conflict.differences if conflict else ():
        if each.argument == "x-queue-type":
            return each.current != "quorum"
    return planned == "classic"
