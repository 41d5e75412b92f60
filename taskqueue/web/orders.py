"""What may be asked for on the page: each act with the count before it, the question, and what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from taskqueue import events
from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected
from taskqueue.errors import ConfigError
from taskqueue.history import acts
from taskqueue.operate import dead, filters, ready, waiting
from taskqueue.operate.acting import Acted, Note
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.web import choosing
from taskqueue.web.desk import NAME
from taskqueue.web.jobs import Job
from taskqueue.web.rows import Row, dead_row, ready_row, waiting_row

log = logging.getLogger(__name__)

SHOWN = 10
"""How many tasks are shown before something is done with them."""
ACTS: Mapping[str, Mapping[str, str]] = {
    "waiting": {
        "cancel": "Cancel",
        "run-now": "Run now",
        "move": "Move",
        "forget": "Delete for good",
    },
    "ready": {"cancel": "Cancel", "forget": "Delete for good"},
    "dead": {"replay": "Replay", "purge": "Delete for good"},
}
"""What can be done with tasks, by where they are."""
_WORDS = {
    "cancel": ("cancel", "cancelled", events.CANCELLED),
    "forget": ("delete for good", "deleted", events.DELETED),
    "run-now": ("run now", "sent to run now", events.HASTENED),
    "move": ("move", "moved", events.MOVED),
    "replay": ("replay", "replayed", events.REPLAYED),
    "purge": ("delete for good", "purged", events.PURGED),
}
UNDO = {
    "cancel": "They go to the dead queue, reason cancelled; a replay of that reason undoes it.",
    "forget": "Nothing undoes it.",
    "run-now": "Each runs with the attempts that it has left.",
    "move": "Another move undoes it.",
    "replay": "Each runs again with all of its attempts.",
    "purge": "Nothing undoes it.",
}
_Preview = Callable[[Session, Progress], Awaitable[tuple[list[Row], Acted]]]
_Act = Callable[[Session, Progress, Note], Awaitable[Acted]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What an order is about, counted before anything is done."""

    question: str
    rows: tuple[Row, ...] = ()
    problems: tuple[str, ...] = ()
    count: int | None = None
    """How many tasks; None where it is about something else."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an order."""

    line: str
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """Something to be done. Nothing is, before `act`; both are run by a job."""

    title: str
    verb: str
    queue: str
    place: str
    """What only one look at a time may hold: a ladder or a queue."""
    preview: Callable[[Job], Seen]
    act: Callable[[Job], Outcome]
    undo: str = ""
    final: bool = False
    """Whether nothing undoes it."""
    where: str = ""
    """Where the tasks are that it is about, if it is about tasks."""


def place_of(queue: QueueSettings, where: str) -> str:
    """Name what a look at the tasks of a queue holds."""
    return {"waiting": f"ladder {queue.ladder}", "dead": names.dead(queue.name)}.get(where, queue.name)


def order(settings: Settings, where: str, queue: str, fields: Mapping[str, str], by: str) -> Order:
    """Read what a form asks to be done with tasks of a queue; raises ConfigError. `by` is who asks for it."""
    now = time.time()
    found, what = settings.queues[queue], fields.get("act", "")
    if what not in ACTS.get(where, {}):
        raise ConfigError("what is to be done with them?")
    wanted = choosing.required(fields, now=now)
    to, at = None, None
    if what == "move":
        to, at = _target(settings, queue, fields, now)
    preview, act = _work(settings, found, where, what, wanted, to=to, at=at, fields=fields)
    verb, done, event = _WORDS[what]

    def count(job: Job) -> Seen:
        rows, seen = job.run(_within(settings, job, preview))
        of = f"{seen.matched:,} of {seen.looked:,} {where} tasks of {queue}"
        return Seen(f"{verb.capitalize()} {of}?", tuple(rows), problems(seen), seen.matched)

    def do(job: Job) -> Outcome:
        if where == "dead" and what == "replay":
            Management(settings).require_no_alarm()
        with acts.noted(settings, event, queue, tell=log.warning, to=to, at=at, by=by) as note:
            acted = job.run(_within(settings, job, partial(_noting, act, note)))
        return Outcome(f"{acted.done:,} {done}, of {acted.matched:,} that matched", problems(acted))

    title = f"{ACTS[where][what]}: {where} tasks of {queue}"
    final = what in {"forget", "purge"}
    return Order(title, verb, queue, place_of(found, where), count, do, UNDO[what], final, where)


def problems(acted: Acted) -> tuple[str, ...]:
    """Say what was named and not found, not seen, or left alone."""
    found = [f"{task_id} is not there" for task_id in acted.missing[:SHOWN]]
    if len(acted.missing) > SHOWN:
        found.append(f"and {len(acted.missing) - SHOWN:,} more that were named are not there")
    found += acted.unseen
    if acted.left:
        found.append(
            f"{acted.left:,} were left alone, as their headers can't be read: a consumer brings them to the "
            "dead queue when they are due"
        )
    return tuple(found)


def _target(
    settings: Settings, queue: str, fields: Mapping[str, str], now: float
) -> tuple[str | None, float | None]:
    at, to = fields.get("to", "").strip(), fields.get("to_queue", "").strip()
    if not at and not to:
        raise ConfigError("where to? give a time, another queue, or both")
    if to and to not in settings.queues:
        raise ConfigError(f"queue {to[:60]!r} is not in the configuration")
    return to if to != queue and to else None, filters.moment(at, now=now) if at else None


def _work(
    settings: Settings,
    queue: QueueSettings,
    where: str,
    what: str,
    wanted: Filter,
    *,
    to: str | None,
    at: float | None,
    fields: Mapping[str, str],
) -> tuple[_Preview, _Act]:
    if where == "dead":
        rate = fields.get("rate", "").strip()
        return _dead(settings, queue.name, what, wanted, filters.interval(rate) if rate else None)
    if what == "move":
        change = waiting.moved(settings.way(to or queue.name), to=at, out_of=queue.name)
    elif what == "run-now":
        change = waiting.run_now(queue.name)
    else:
        change = waiting.forgotten if what == "forget" else waiting.cancelled(queue.name)
    return (
        _waiting(settings, queue.name, wanted, change)
        if where == "waiting"
        else _ready(queue, wanted, change)
    )


def _waiting(settings: Settings, queue: str, wanted: Filter, change: waiting.Act) -> tuple[_Preview, _Act]:
    async def preview(session: Session, progress: Progress) -> tuple[list[Row], Acted]:
        shown = await waiting.due_next(session, queue, settings, wanted, limit=SHOWN, progress=progress)
        return [waiting_row(task) for task, _ in shown.tasks], shown.acted

    async def act(session: Session, progress: Progress, note: Note) -> Acted:
        return await waiting.act(session, queue, settings, wanted, change, progress=progress, note=note)

    return preview, act


def _ready(queue: QueueSettings, wanted: Filter, change: waiting.Act) -> tuple[_Preview, _Act]:
    async def preview(session: Session, progress: Progress) -> tuple[list[Row], Acted]:
        await ready.require_paused(session, queue.name)
        found, seen = await ready.first(session, queue, wanted, limit=SHOWN, progress=progress)
        return [ready_row(facts) for facts in found], seen

    async def act(session: Session, progress: Progress, note: Note) -> Acted:
        await ready.require_paused(session, queue.name)
        return await ready.act(session, queue, wanted, change, progress=progress, note=note)

    return preview, act


def _dead(
    settings: Settings, queue: str, what: str, wanted: Filter, every: float | None
) -> tuple[_Preview, _Act]:
    async def preview(session: Session, progress: Progress) -> tuple[list[Row], Acted]:
        first, seen = await dead.counted(session, queue, wanted, limit=SHOWN, progress=progress)
        return [dead_row(task) for task in first], seen

    async def act(session: Session, progress: Progress, note: Note) -> Acted:
        if what == "purge":
            return await dead.purge(session, queue, wanted, progress=progress, note=note)
        way = settings.way(queue)
        return await dead.replay(session, way, wanted, every=every, progress=progress, note=note)

    return preview, act


async def _within(settings: Settings, job: Job, work: Callable[[Session, Progress], Awaitable[Any]]) -> Any:
    async with connected(settings, name=NAME) as session:
        return await work(session, job.tell)


async def _noting(act: _Act, note: Note, session: Session, progress: Progress) -> Acted:
    return await act(session, progress, note)
