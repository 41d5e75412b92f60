"""Counts how many tasks are where, by passive look-ups: nothing is declared and no message is touched."""

from __future__ import annotations

import math
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass

from taskqueue.broker.management import Counts as Unready
from taskqueue.broker.replies import Counts
from taskqueue.broker.session import Session
from taskqueue.errors import NotKnown
from taskqueue.operate.due import Due, due
from taskqueue.operate.probed import Probed, probed
from taskqueue.operate.rungs import Rung, of_ladders, rungs
from taskqueue.settings import QueueSettings, Settings
from taskqueue.task.probe import Finding, stay
from taskqueue.topology import names
from taskqueue.topology.ladder import BASE
from taskqueue.topology.plan import Exchange, Queue, joined, plan_ladder, plan_queue, rung_name


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
    absent: bool
    """Whether nothing that belongs to it exists."""
    looked: tuple[str, ...]
    """Every queue of which somebody holds messages to look at them, nobody can tell how many."""

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
    lateness: float | None
    """By how many seconds it was late when the last probe came, or is by now as one does not come."""
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    absent: bool
    looked: tuple[str, ...]
    rungs: tuple[Rung, ...] = ()
    """Its wait queues, and what the configuration no longer names of them where something lists that."""

    @property
    def waiting(self) -> int | None:
        """How many tasks are on it."""
        return None if self.due is None else self.due.total


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Stands for a count where no answer came."""


_Seen = Mapping[str, Counts | _Unknown | None]


async def states(
    session: Session,
    settings: Settings,
    queues: Iterable[QueueSettings],
    unready: Mapping[str, Unready] | None = None,
    gone: Collection[Exchange | Queue] = (),
) -> tuple[tuple[QueueState, ...], tuple[LadderState, ...]]:
    """Look at each of `queues` and at the ladders they wait on; raises BrokerRefused.

    `unready` are the counts of the management API, by the name of the queue; None where they are not known.
    What is `gone` is not looked at: it does not exist.
    """
    wanted = tuple(queues)
    ladders = tuple(dict.fromkeys(queue.ladder for queue in wanted))
    layout = settings.layout
    plans = {queue.name: plan_queue(queue.name, layout) for queue in wanted}
    ladder_plans = {ladder: plan_ladder(ladder, layout) for ladder in ladders}
    every = joined([*plans.values(), *ladder_plans.values()])
    nowhere = {item.name for item in gone if isinstance(item, Queue)}
    listed = of_ladders(wanted, unready or ())
    steps = {ladder: rungs(ladder, settings, listed.get(ladder, ())) for ladder in ladders}
    counted = dict.fromkeys(item.name for item in every.queues)
    counted |= dict.fromkeys(step.queue for ladder in ladders for step in steps[ladder])
    counted |= dict.fromkeys(names.members(queue.name) for queue in wanted if queue.rate)
    there = [name for name in counted if name not in nowhere]
    seen = counted | dict(zip(there, await session.each("", _count, there), strict=True))
    findings = await _findings(session, settings, ladders, seen)
    exchanges = [item for item in every.exchanges if item not in gone]
    found = dict(zip(exchanges, await session.each("", _exists, exchanges), strict=True))
    lacking = {item.name for item in every.exchanges if not found.get(item)}
    return (
        tuple(_queue_state(queue, plans[queue.name].items, seen, lacking, unready) for queue in wanted),
        tuple(
            _ladder_state(
                name,
                steps[name],
                items=ladder_plans[name].items,
                seen=seen,
                lacking=lacking,
                unready=unready,
                finding=findings.get(name),
            )
            for name in ladders
        ),
    )


async def _count(session: Session, queue: str) -> Counts | _Unknown | None:
    if names.is_probes(queue):
        # Nobody but the one consumer may ask for its head, and nothing in it counts.
        return Counts(0, 0) if await session.exists("queue", queue) else None
    try:
        return await session.counts(queue)
    except NotKnown:
        return _Unknown()


async def _findings(
    session: Session,
    settings: Settings,
    ladders: Iterable[str],
    seen: dict[str, Counts | _Unknown | None],
) -> Mapping[str, Finding | None]:
    """Give what probes have found, and count the rung that each is on for a moment without it."""

    async def look(session: Session, ladder: str) -> Probed | None:
        try:
            return await probed(session, ladder, settings.rungs, settings.queue_type)
        except NotKnown:
            return None

    probing = []
    for ladder in ladders:
        finding = seen.get(names.probed(ladder))
        if isinstance(finding, Counts) and finding.ready:
            probing.append(ladder)
    found = dict(zip(probing, await session.each("", look, probing), strict=True))
    for ladder, each in found.items():
        rung = rung_name(ladder, stay(settings.rungs), settings.queue_type)
        seen[rung] = _Unknown() if each is None else each.rung
    return {ladder: each.finding for ladder, each in found.items() if each is not None}


async def _exists(session: Session, exchange: Exchange) -> bool:
    return await session.exists("exchange", exchange.name)


def _queue_state(
    queue: QueueSettings,
    items: tuple[Exchange | Queue, ...],
    seen: _Seen,
    lacking: set[str],
    unready: Mapping[str, Unready] | None,
) -> QueueState:
    missing = _missing(items, seen, lacking)
    work, dead = seen[queue.name], seen[names.dead(queue.name)]
    known = isinstance(work, Counts)
    return QueueState(
        name=queue.name,
        ladder=queue.ladder,
        ready=work.ready if isinstance(work, Counts) else None,
        unacked=_unready(unready, queue.name).unacked if unready is not None and known else None,
        dead=_standing(dead, unready, names.dead(queue.name)),
        consumers=_consumers(work, seen.get(names.members(queue.name))),
        missing=missing,
        unknown=_unknown(items, seen),
        absent=len(missing) == len(items),
        looked=_looked([names.dead(queue.name)], seen, unready),
    )


def _consumers(work: Counts | _Unknown | None, sharing: Counts | _Unknown | None) -> int | None:
    """Count the consumers: between two tokens of a slow rate they are only those that share it."""
    if not isinstance(work, Counts) or (isinstance(sharing, _Unknown) and not work.consumers):
        return None
    return max(work.consumers, sharing.consumers if isinstance(sharing, Counts) else 0)


def _ladder_state(
    name: str,
    steps: tuple[Rung, ...],
    *,
    items: tuple[Exchange | Queue, ...],
    seen: _Seen,
    lacking: set[str],
    unready: Mapping[str, Unready] | None,
    finding: Finding | None,
) -> LadderState:
    lost = seen.get(names.lost(name))
    missing = _missing(items, seen, lacking)
    planned = {item.name for item in items}
    there = [step for step in steps if seen[step.queue] is not None]
    return LadderState(
        name=name,
        due=due(
            (_within_ms(step, planned), _standing(seen[step.queue], unready, step.queue)) for step in there
        ),
        held=None if unready is None else _held(steps, unready, finding),
        lost=lost.ready if isinstance(lost, Counts) else None,
        lateness=finding.lateness if finding is not None else None,
        missing=missing,
        unknown=_unknown(items, seen),
        absent=len(missing) == len(items),
        looked=_looked([step.queue for step in there], seen, unready),
        rungs=steps,
    )


def _held(steps: Iterable[Rung], unready: Mapping[str, Unready], finding: Finding | None) -> int:
    held = sum(_unready(unready, step.queue).held for step in steps)
    # A probe that does not come is one of them.
    return held - 1 if held and finding is not None and finding.out else held


def _within_ms(step: Rung, planned: Container[str]) -> float:
    """Bound when what is on a rung is due; what goes round on the longest rung of a former ladder is not."""
    longest = names.timed(step.queue) if step.queue not in planned else None
    return math.inf if longest and longest.seconds == (BASE - 1) * longest.unit else step.within_ms


def _standing(
    counts: Counts | _Unknown | None, unready: Mapping[str, Unready] | None, queue: str
) -> int | None:
    """Count what stands in a queue that has consumers only while somebody looks through it.

    What a look holds is not ready. Only the management API counts it, as it was some seconds ago.
    """
    if not isinstance(counts, Counts):
        return None
    if not counts.consumers:
        return counts.ready
    told = _unready(unready, queue)
    # Without any that are handed out, it was told before the look began.
    return max(counts.ready, told.ready + told.unacked) if told.unacked else None


def _looked(queues: Iterable[str], seen: _Seen, unready: Mapping[str, Unready] | None) -> tuple[str, ...]:
    return tuple(
        queue
        for queue in queues
        if isinstance(seen[queue], Counts) and _standing(seen[queue], unready, queue) is None
    )


def _missing(items: Iterable[Exchange | Queue], seen: _Seen, lacking: set[str]) -> tuple[str, ...]:
    return tuple(
        f"{item.kind} {item.name}"
        for item in items
        if (item.name in lacking if isinstance(item, Exchange) else seen[item.name] is None)
    )


def _unknown(items: Iterable[Exchange | Queue], seen: _Seen) -> tuple[str, ...]:
    return tuple(
        item.name for item in items if isinstance(item, Queue) and isinstance(seen[item.name], _Unknown)
    )


def _unready(counts: Mapping[str, Unready] | None, queue: str) -> Unready:
    # The management API does not know yet of a queue that was declared a moment ago.
    return (counts or {}).get(queue, Unready(0, 0))
