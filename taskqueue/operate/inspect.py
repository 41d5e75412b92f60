"""Counts how many tasks are where, by passive look-ups: nothing is declared and no message is touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from taskqueue.broker.asking import Counts
from taskqueue.broker.management import Counts as Unready
from taskqueue.broker.session import Session
from taskqueue.errors import NotKnown
from taskqueue.operate.rungs import Rung, rungs
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.plan import Exchange, Queue, plan_ladder, plan_queue

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Due:
    """Waiting tasks by the wait queue that holds them: due within a minute, an hour, later.

    The longest leg comes first, and only shorter ones follow. So the rung of a task tells when the task
    is due, to within the length of that rung. None where a rung's leader does not answer.
    """

    minute: int | None
    hour: int | None
    later: int | None


@dataclass(frozen=True, slots=True)
class QueueState:
    """The counts of one task queue; None where a count is not known."""

    name: str
    ladder: str
    ready: int | None
    unacked: int | None
    dead: int | None
    consumers: int | None
    missing: tuple[str, ...]
    """Every queue and exchange that should exist and does not, such as ``queue mail.dead``."""
    unknown: tuple[str, ...]
    """Every queue that does not answer."""

    @property
    def declared(self) -> bool:
        """Whether all that belongs to the queue exists."""
        return not self.missing

    def cut_off(self, ladder: LadderState) -> bool:
        """Tell whether the work queue is gone and its ladder is not: what comes due is held then."""
        return f"queue {self.name}" in self.missing and ladder.due is not None


@dataclass(frozen=True, slots=True)
class LadderState:
    """The counts of one ladder; None where a count is not known."""

    name: str
    due: Due | None
    """None where nothing of it is declared."""
    held: int | None
    """Tasks that the broker has not handed on yet although their stay in a wait queue is over."""
    lost: int | None
    """Messages on a shared ladder that name no queue of it."""
    missing: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def waiting(self) -> int | None:
        """How many tasks are on it."""
        if self.due is None or None in (self.due.minute, self.due.hour, self.due.later):
            return None
        return (self.due.minute or 0) + (self.due.hour or 0) + (self.due.later or 0)


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Stands for a count where no answer came."""


_Seen = Mapping[str, Counts | _Unknown | None]


async def states(
    session: Session,
    settings: Settings,
    queues: Iterable[QueueSettings],
    unready: Mapping[str, Unready] | None = None,
) -> tuple[tuple[QueueState, ...], tuple[LadderState, ...]]:
    """Look at each of `queues` and at the ladders they wait on; raises BrokerRefused.

    `unready` are the counts of the management API, by the name of the queue; None where they are not known.
    """
    wanted = tuple(queues)
    ladders = tuple(dict.fromkeys(queue.ladder for queue in wanted))
    plans = {queue.name: plan_queue(queue.name, settings.layout) for queue in wanted}
    ladder_plans = {ladder: plan_ladder(ladder, settings.layout) for ladder in ladders}
    every = [*plans.values(), *ladder_plans.values()]
    steps = {ladder: rungs(ladder, settings, unready or ()) for ladder in ladders}
    planned = [item.name for plan in every for item in plan.queues]
    planned += [step.queue for ladder in ladders for step in steps[ladder]]
    planned = list(dict.fromkeys(planned))
    seen = dict(zip(planned, await session.each("", _count, planned), strict=True))
    exchanges = [item for plan in every for item in plan.exchanges]
    there = await session.each("", _exists, exchanges)
    absent = {item.name for item, found in zip(exchanges, there, strict=True) if not found}
    return (
        tuple(_queue_state(queue, plans[queue.name].items, seen, absent, unready) for queue in wanted),
        tuple(
            _ladder_state(
                name, steps[name], items=ladder_plans[name].items, seen=seen, absent=absent, unready=unready
            )
            for name in ladders
        ),
    )


async def _count(session: Session, queue: str) -> Counts | _Unknown | None:
    try:
        return await session.counts(queue)
    except NotKnown:
        return _Unknown()


async def _exists(session: Session, exchange: Exchange) -> bool:
    return await session.exists("exchange", exchange.name)


def _queue_state(
    queue: QueueSettings,
    items: tuple[Exchange | Queue, ...],
    seen: _Seen,
    absent: set[str],
    unready: Mapping[str, Unready] | None,
) -> QueueState:
    work, dead = seen[queue.name], seen[names.dead(queue.name)]
    known = isinstance(work, Counts)
    return QueueState(
        name=queue.name,
        ladder=queue.ladder,
        ready=work.ready if isinstance(work, Counts) else None,
        unacked=_unready(unready, queue.name).unacked if unready is not None and known else None,
        dead=dead.ready if isinstance(dead, Counts) else None,
        consumers=work.consumers if isinstance(work, Counts) else None,
        missing=_missing(items, seen, absent),
        unknown=_unknown(items, seen),
    )


def _ladder_state(
    name: str,
    steps: tuple[Rung, ...],
    *,
    items: tuple[Exchange | Queue, ...],
    seen: _Seen,
    absent: set[str],
    unready: Mapping[str, Unready] | None,
) -> LadderState:
    lost = seen.get(names.lost(name))
    return LadderState(
        name=name,
        due=due([(step, seen[step.queue]) for step in steps if seen[step.queue] is not None]),
        held=None if unready is None else sum(_unready(unready, step.queue).held for step in steps),
        lost=lost.ready if isinstance(lost, Counts) else None,
        missing=_missing(items, seen, absent),
        unknown=_unknown(items, seen),
    )


def _missing(items: Iterable[Exchange | Queue], seen: _Seen, absent: set[str]) -> tuple[str, ...]:
    return tuple(
        f"{item.kind} {item.name}"
        for item in items
        if (item.name in absent if isinstance(item, Exchange) else seen[item.name] is None)
    )


def _unknown(items: Iterable[Exchange | Queue], seen: _Seen) -> tuple[str, ...]:
    return tuple(
        item.name for item in items if isinstance(item, Queue) and isinstance(seen[item.name], _Unknown)
    )


def _unready(counts: Mapping[str, Unready], queue: str) -> Unready:
    # The management API does not know yet of a queue that was declared a moment ago.
    return counts.get(queue, Unready(0, 0))


def due(found: Iterable[tuple[Rung, Counts | _Unknown | None]]) -> Due | None:
    """Sum counts by when the tasks of a rung are due; None where there is no rung at all."""
    sums: dict[str, int | None] = {"minute": 0, "hour": 0, "later": 0}
    steps = tuple(found)
    for rung, counts in steps:
        part = _part(rung.within_ms)
        total = sums[part]
        sums[part] = total + counts.ready if isinstance(counts, Counts) and total is not None else None
    return Due(sums["minute"], sums["hour"], sums["later"]) if steps else None


def _part(within_ms: int) -> str:
    if within_ms <= _MINUTE_MS:
        return "minute"
    return "hour" if within_ms <= _HOUR_MS else "later"
