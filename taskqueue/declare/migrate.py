"""`declare --migrate`: replace each work queue that is of the other type, with what is in it.

It is all there is to migrate. Rungs of one type have other names than those of the other and empty
themselves, and a dead queue is of one type always.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from taskqueue.broker.session import Progress, Session
from taskqueue.declare.apply import apply, bind, create, signs_of_books, unbind
from taskqueue.declare.replacement import Replacement
from taskqueue.declare.verify import Findings
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC, QUORUM, hops


@dataclass(frozen=True, slots=True)
class Replaced:
    """A work queue that is to be replaced, or the replacement of which was interrupted."""

    queue: str
    current: str
    """Its type as it is now; that which is wanted where only the end of an interrupted migration is left."""
    wanted: str
    interrupted: bool = False


async def examine(session: Session, settings: Settings, findings: Findings) -> tuple[Replaced, ...]:
    """Find the work queues to replace; changes nothing.

    Raises TopologyConflict where something conflicts in another way than by the type of a work queue.
    """
    types = {conflict.item.name: conflict for conflict in findings.conflicts if conflict.of_type}
    others = [
        each for each in findings.conflicts if each.item.name not in settings.queues or not each.of_type
    ]
    if others:
        Findings(findings.plan, findings.existing, tuple(others)).require_none()
    moving = await session.each("looking for migrations", _is_moving, settings.queues)
    found = []
    for queue, parked in zip(settings.queues, moving, strict=True):
        conflict = types.get(queue)
        if conflict or parked:
            current = conflict.type if conflict else None
            found.append(Replaced(queue, current or settings.queue_type, settings.queue_type, parked))
    return tuple(found)


async def migrate(
    session: Session,
    settings: Settings,
    findings: Findings,
    replaced: Iterable[Replaced],
    progress: Progress,
) -> dict[str, int]:
    """Replace what `examine` found, then declare the whole configuration; gives the moved messages by queue.

    Raises TopologyConflict where a queue has consumers, NotKnown where it can't be told whether it is empty,
    BrokerRefused, PublishFailed; run it again after any of them.
    """
    works = tuple(replaced)
    replacements = {
        each.queue: Replacement(session, settings, each.queue, progress, aside=each.interrupted)
        for each in works
    }
    others = [replacements[each.queue] for each in works if each.current != each.wanted]
    await session.each("looking for consumers", _require_unused, others, progress)
    # `apply` creates them once there are books.
    later = {each.queue for each in works} | signs_of_books(settings).keys()
    await _create_all_but(session, later, findings, progress)
    ladders = dict.fromkeys(settings.queues[each.queue].ladder for each in works)
    for ladder in ladders:
        await _switch_rungs(session, settings, ladder, progress)
    moved = {queue: await each.run() for queue, each in replacements.items()}
    await apply(session, settings, findings, progress)
    return moved


async def _is_moving(session: Session, queue: str) -> bool:
    return await session.exists("queue", names.moving(queue))


async def _require_unused(_session: Session, replacement: Replacement) -> None:
    """Refuse before anything is changed; who comes later is found by the replacement itself."""
    await replacement.require_unused()


async def _create_all_but(session: Session, queues: set[str], findings: Findings, progress: Progress) -> None:
    items = [
        each for each in findings.plan.items if each not in findings.existing and each.name not in queues
    ]
    await session.each("creating", create, items, progress)


async def _switch_rungs(session: Session, settings: Settings, ladder: str, progress: Progress) -> None:
    """Bind each key to the rung of the new type. What comes in between takes the alternate exchange."""
    former = QUORUM if settings.queue_type == CLASSIC else CLASSIC
    old = tuple(hops(ladder, settings.rungs, former))
    await session.each(f"unbinding the {former} rungs of {ladder}", unbind, old, progress)
    new = tuple(hops(ladder, settings.rungs, settings.queue_type))
    await session.each(f"binding the {settings.queue_type} rungs of {ladder}", bind, new, progress)
