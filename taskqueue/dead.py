"""The dead queue: what is in it, why, and how it gets out again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import NackError, UnroutableError

from taskqueue import message as amqp
from taskqueue import task as state
from taskqueue.browse import Browse, Found, Progress, ready_messages, text, url_of, whole
from taskqueue.errors import PublishFailed
from taskqueue.link.wire import to_properties
from taskqueue.message import Message, Publish
from taskqueue.topology import names

_MOST_EXTRA = 20_000
"""Bounds a short look into a long dead queue; past it, their order may change, which only looks odd."""
_KEPT = frozenset({state.FIRST_SEEN, state.FAILED_ID, state.FAILED_URL, state.FAILURE})


@dataclass(frozen=True, slots=True)
class DeadTask:
    """What became of one task; None where its message does not say."""

    id: str | None
    reason: str
    url: str | None
    attempts: int
    error: str | None
    at: float | None
    """When it died: seconds since the epoch."""
    first_seen: float | None
    message: Message


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead tasks are meant: by id (the oldest of each), by reason, by both, or all."""

    ids: frozenset[str] | None = None
    reason: str | None = None

    def covers(self, task: DeadTask) -> bool:
        """Tell whether a task is meant."""
        return (self.ids is None or task.id in self.ids) and self.reason in {None, task.reason}


@dataclass(frozen=True, slots=True)
class Handled:
    """How many tasks were replayed or purged, and which ids of the selection were not there."""

    count: int
    missing: tuple[str, ...] = ()


def read(message: Message, queue: str) -> DeadTask:
    """Read what a message of the dead queue tells; never raises, whatever it holds."""
    headers = message.headers
    broker = _broker_death(headers, queue)
    died = _seconds(headers, state.DIED)
    return DeadTask(
        id=text(message.properties.get("message_id")),
        reason=text(headers.get(state.REASON)) or text(broker.get("reason")) or "unknown",
        url=url_of(message.body),
        attempts=whole(headers, state.RUNS) or 0,
        error=text(headers.get(state.ERROR)) or message.fault,
        at=_timestamp(broker.get("time")) if died is None else died,
        first_seen=_seconds(headers, state.FIRST_SEEN),
        message=message,
    )


def revived(message: Message, *, now: float) -> Message:
    """Make the message that runs a dead task afresh and at once: same id and body, state reset."""
    headers = {
        name: value
        for name, value in amqp.stripped(message.headers).items()
        if name in _KEPT or not str(name).startswith(amqp.PREFIX)
    }
    headers[state.DUE] = int(now * 1000)
    return Message(message.body, headers, amqp.kept(message.properties))


def count(connection: BlockingConnection, queue: str) -> int:
    """Count the dead tasks; raises NotDeclared where there is no dead queue."""
    channel = connection.channel()
    ready = ready_messages(channel, names.dead(queue))
    channel.close()
    return ready


def entries(
    connection: BlockingConnection, queue: str, *, limit: int, reason: str | None = None
) -> Iterator[DeadTask]:
    """Yield the oldest `limit` dead tasks, of one reason if it is given; leaves them where they are."""
    selection = Selection(reason=reason)
    with _browse(connection, queue, limit if reason is None else None) as browse:
        for found in browse:
            task = read(found.message, queue)
            if selection.covers(task):
                yield task
                limit -= 1
            if limit <= 0:
                return


def find(connection: BlockingConnection, queue: str, task_id: str) -> DeadTask | None:
    """Look one dead task up by its id; None where it is not there."""
    with _browse(connection, queue) as browse:
        tasks = (read(found.message, queue) for found in browse)
        return next((task for task in tasks if task.id == task_id), None)


def replay(
    connection: BlockingConnection,
    queue: str,
    selection: Selection,
    *,
    clock: Callable[[], float] = time.time,
    progress: Progress | None = None,
) -> Handled:
    """Put the chosen tasks back into the work queue, each confirmed before its dead copy is acked.

    Raises PublishFailed at the first one that the broker does not take; that one stays dead.
    """
    channel = connection.channel()
    channel.confirm_delivery()
    with _browse(connection, queue) as browse:
        return _each(
            browse, queue, selection, progress, lambda found: _publish(channel, queue, found, clock())
        )


def purge(
    connection: BlockingConnection, queue: str, selection: Selection, *, progress: Progress | None = None
) -> Handled:
    """Delete the chosen tasks for good."""
    if selection == Selection():
        method = connection.channel().queue_purge(names.dead(queue)).method
        return Handled(method.message_count or 0)
    with _browse(connection, queue) as browse:
        return _each(browse, queue, selection, progress, lambda _: None)


def _browse(connection: BlockingConnection, queue: str, limit: int | None = None) -> Browse:
    return Browse(connection, names.dead(queue), limit=limit, most_extra=_MOST_EXTRA)


def _each(
    browse: Browse,
    queue: str,
    selection: Selection,
    progress: Progress | None,
    before_ack: Callable[[Found], None],
) -> Handled:
    left = set(selection.ids or ())
    handled = 0
    for looked, found in enumerate(browse, start=1):
        task = read(found.message, queue)
        if selection.covers(task) and (selection.ids is None or task.id in left):
            before_ack(found)
            browse.take(found)
            left.discard(task.id or "")
            handled += 1
        if progress is not None:
            progress(looked, browse.count)
        if selection.ids is not None and not left:
            break
    return Handled(handled, tuple(sorted(left)))


def _publish(channel: BlockingChannel, queue: str, found: Found, now: float) -> None:
    publish = Publish("", (queue,), revived(found.message, now=now))
    try:
        channel.basic_publish("", queue, publish.message.body, to_properties(publish), mandatory=True)
    except UnroutableError as error:
        msg = f"queue {queue} does not exist, the task stays dead: run `taskqueue declare`"
        raise PublishFailed(msg) from error
    except NackError as error:
        msg = f"the broker did not take the task into queue {queue}, it stays dead: try again"
        raise PublishFailed(msg) from error


def _broker_death(headers: Mapping[str, Any], queue: str) -> Mapping[str, Any]:
    """Find the broker's own record of a death in the work queue (most recent first).

    ``x-first-death-reason`` won't do: of a task that came up the ladder it tells of the ladder.
    """
    deaths = headers.get("x-death")
    for death in deaths if isinstance(deaths, list) else ():
        if isinstance(death, dict) and death.get("queue") == queue:
            return death
    return {}


def _seconds(headers: Mapping[str, Any], name: str) -> float | None:
    milliseconds = whole(headers, name)
    return None if milliseconds is None else milliseconds / 1000


def _timestamp(value: object) -> float | None:
    return value.timestamp() if isinstance(value, datetime) else None
