"""What waits on the ladder of a queue: list it, cancel it, run it now, move it to another time or queue."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from taskqueue.broker.session import Session
from taskqueue.operate.acting import Acted, Choice, Note, Transfer, nobody
from taskqueue.operate.filters import Filter
from taskqueue.operate.ladder_look import look
from taskqueue.operate.reading import Facts
from taskqueue.operate.rung_look import LOOK, Held, Progress, Visitor
from taskqueue.settings import Settings
from taskqueue.task import astray
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.astray import itinerary
from taskqueue.task.decide import CANCELLED
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names
from taskqueue.topology.ladder import Way

_CANCELLED = "cancelled while it waited"
Act = Callable[[Facts, float], Publish | None]
"""What is to become of a task at a time (seconds since the epoch); None where it is to be deleted."""


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """One task on the ladder; None where its message does not say."""

    id: str | None
    url: str | None
    due: float | None
    """When it is to run: seconds since the epoch."""
    runs: int
    error: str | None
    """Why its last run failed."""
    rung: str
    """How long its wait queue holds it, ``20s``; other rungs may follow."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The tasks that are due next of those that a filter covers."""

    tasks: tuple[tuple[WaitingTask, Message], ...]
    acted: Acted
    """How many there are."""


def waiting_task(facts: Facts, rung: str) -> WaitingTask:
    """Read what a waiting message tells; never raises, whatever it holds."""
    return WaitingTask(facts.id, facts.url, facts.due, facts.runs, facts.error, rung)


async def due_next(
    session: Session,
    queue: str,
    settings: Settings,
    chosen: Filter,
    *,
    limit: int,
    progress: Progress | None = None,
) -> Shown:
    """Find the `limit` tasks that are due next, whatever their rungs, and count all. They stay there.

    Raises NotDeclared where a rung is missing, NotKnown.
    """
    choice = Choice(chosen)
    nearest: list[tuple[float, int, Facts, str]] = []

    def visit(held: Held) -> None:
        facts = Facts(held.message)
        if is_for(held.message, queue) and choice.takes(facts):
            due = -(math.inf if facts.due is None else facts.due)
            entry = (due, -choice.matched, facts, held.rung.ttl)
            if len(nearest) < limit:
                heapq.heappush(nearest, entry)
            elif nearest and entry > nearest[0]:
                heapq.heapreplace(nearest, entry)

    unseen = await look(
        session, settings.queues[queue], settings, lambda _: Visitor(visit, _nothing), progress
    )
    tasks = tuple(
        (waiting_task(facts, rung), facts.message) for _, _, facts, rung in sorted(nearest, reverse=True)
    )
    return Shown(tasks, choice.acted(unseen))


async def act(
    session: Session,
    queue: str,
    settings: Settings,
    chosen: Filter,
    what: Act,
    *,
    progress: Progress | None = None,
    note: Note = nobody,
) -> Acted:
    """Do something with each task that a filter covers: publish it as `what` says, then take it off.

    What has headers that can't be read is left alone. Raises PublishFailed where the broker does not take
    one: that one waits on, as do those behind it.
    """
    choice = Choice(chosen, note)

    async with session.publishing() as channel:
        transfer = Transfer(channel, queue, done="taken off the ladder", stays="waits on")

        def make(look_id: str) -> Visitor:
            def visit(held: Held) -> Awaitable[None] | None:
                facts = Facts(held.message)
                if not is_for(held.message, queue) or not choice.takes(facts):
                    return None
                if held.message.fault is not None:
                    # What can't be read would be lost: its way, its runs. Its consumer tells what it was.
                    choice.left += 1
                    return None
                held.keep()
                publish = what(facts, time.time())

                def take() -> None:
                    held.take()
                    choice.did(facts)

                if publish is None:
                    take()
                    return None
                headers = {**publish.message.headers, LOOK: look_id}
                return transfer.put(replace(publish, message=replace(publish.message, headers=headers)), take)

            return Visitor(visit, transfer.settle)

        unseen = await look(session, settings.queues[queue], settings, make, progress)
    return choice.acted(unseen)


def cancelled(queue: str) -> Act:
    """Bring a task to the dead queue, without a roll_back: `dead replay --reason cancelled` undoes it."""

    def publish(facts: Facts, now: float) -> Publish:
        headers = _copied(facts, queue) | {
            state.REASON: CANCELLED,
            state.ERROR: facts.error or _CANCELLED,
            state.DIED: int(now * 1000),
        }
        return Publish(names.dead(queue), (queue,), _again(facts, headers))

    return publish


def forgotten(_facts: Facts, _now: float) -> None:
    """Delete a task."""


def run_now(queue: str) -> Act:
    """Bring a task to the work queue, due at once."""

    def publish(facts: Facts, now: float) -> Publish:
        headers = _copied(facts, queue) | {state.DUE: int(now * 1000)}
        return Publish(names.due(queue), (queue,), _again(facts, headers))

    return publish


def moved(way: Way, *, to: float | None = None, out_of: str) -> Act:
    """Put a task on a ladder, due at `to` (seconds since the epoch) or when it was due."""

    def publish(facts: Facts, now: float) -> Publish:
        due = facts.due if to is None else to
        due_ms = int((now if due is None else due) * 1000)
        headers = _copied(facts, out_of) | {state.DUE: due_ms}
        if way.queue != out_of:
            headers[state.MOVED_TO] = way.queue
        exchange, keys = way.route(due_ms, now)
        return Publish(exchange, keys, _again(facts, headers))

    return publish


def is_for(message: Message, queue: str) -> bool:
    """Tell whether a message is on its way to a queue: others may share the ladder."""
    keys = itinerary(message.headers)
    target = names.destination(keys[-1]) if keys else None
    return target is None or target == queue


def _copied(facts: Facts, queue: str) -> dict[str, object]:
    """Give the headers without the broker's, and without what holds for its former time only."""
    headers = astray.copied(facts.message.headers, queue)
    return {name: value for name, value in headers.items() if name != astray.SENT_ROUND}


def _again(facts: Facts, headers: dict[str, object]) -> Message:
    return Message(facts.message.body, headers, amqp.kept(facts.message.properties))


async def _nothing() -> None:
    """Settle nothing."""
