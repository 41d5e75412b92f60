"""A decision as messages: what must be confirmed before the task's own message is acked.

The order is the guarantee: publish with confirm and mandatory, **then** ack. At any crash the
task is in the broker at least once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taskqueue.redact import begun, without_login
from taskqueue.task import astray
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.decide import INVALID, Again, Dead, Decision, Done, Home, Move
from taskqueue.task.decode import Task
from taskqueue.task.message import Message, Publish
from taskqueue.task.result import Following
from taskqueue.topology import names
from taskqueue.topology.ladder import Way

_LONGEST_ERROR = 500
_CUT = 300
_TEXTS = (state.ERROR, state.FAILURE, state.FAILED_URL)


def successors(
    message: Message, task: Task | None, decision: Decision | Move | Home, *, way: Way, now: float
) -> tuple[Publish, ...]:
    r"""List what to publish before the ack; `task` is None where the message could not be decoded.

    All of it goes through exchanges of the queue that it is for, and nothing through the default exchange. So
    write permission on ``^Q(\..*)?$`` is enough to settle the tasks of queue Q.
    """
    queue = way.queue
    match decision:
        case Done(following):
            return tuple(_follow(message, each, queue, now) for each in following)
        case Move(target) if task is not None:
            # With the due time, so that a countdown does not begin again there.
            headers = {state.DUE: task.due, **_seen(task)}
            moved = _copy(message, queue, headers, without=(state.REFUSALS, astray.MEANT_FOR))
            return (Publish(names.due(target), (target,), moved),)
        case Home(wake):
            # Its body says all, and nothing else of it may be what the broker refuses.
            return (Publish(names.control(queue), (wake,), Message(message.body)),)
        case Again() if task is not None:
            return (_again(message, task, decision, way, now),)
        case Dead():
            publishes = [_dead(message, task, decision, queue, now)]
            # An invalid task is a mistake to mend and replay: a roll_back would undo things before that.
            undo = decision.rolls_back or decision.reason != INVALID
            if task is not None and task.roll_back is not None and undo:
                publishes.append(_roll_back(message, task, decision, queue, now))
            return tuple(publishes)
    msg = f"{decision} of a message that is not a task"
    raise AssertionError(msg)


def slimmer(publish: Publish, *, keeps_theirs: bool) -> Publish | None:
    """Give a message with smaller headers, None where there is nothing to spare.

    Our texts are cut; then, unless it `keeps_theirs`, the headers of other programs are left out.
    """
    message = publish.message
    texts = {name: text for name in _TEXTS if isinstance(text := message.headers.get(name), str)}
    cut = {name: f"{text[:_CUT]}..." for name, text in texts.items() if len(text) > _CUT + 3}
    headers = {**message.headers, **cut}
    if not cut and not keeps_theirs:
        headers = {name: value for name, value in headers.items() if _ours(name)}
    return None if headers == message.headers else replace(publish, message=replace(message, headers=headers))


def roll_back_id(task_id: str) -> str:
    """Give the id of a task's roll_back: always the same, so that a receiver can tell a duplicate."""
    return state.related_id(task_id, "roll_back")


def _again(message: Message, task: Task, decision: Again, way: Way, now: float) -> Publish:
    headers = {state.DUE: decision.due, state.RUNS: decision.runs, **_seen(task)}
    if decision.error is not None:
        headers[state.ERROR] = begun(decision.error, _LONGEST_ERROR)
    if decision.runs != task.runs:
        headers[state.SINCE] = int(now * 1000)
    if decision.early:
        headers[astray.SENT_ROUND] = int(now * 1000)
    if decision.crashes:
        headers[state.CRASHES] = decision.crashes
    if decision.refusals:
        headers[state.REFUSALS] = decision.refusals
    exchange, keys = way.route(decision.due, now)
    without = (state.CRASHES, state.REFUSALS, astray.SENT_ROUND)
    return Publish(exchange, keys, _copy(message, way.queue, headers, without=without))


def _dead(message: Message, task: Task | None, decision: Dead, queue: str, now: float) -> Publish:
    headers = {
        state.RUNS: decision.runs,
        state.REASON: decision.reason,
        state.ERROR: begun(decision.error, _LONGEST_ERROR),
        state.DIED: int(now * 1000),
        **_seen(task),
    }
    return Publish(names.dead(queue), (queue,), _copy(message, queue, headers))


def _roll_back(message: Message, task: Task, decision: Dead, queue: str, now: float) -> Publish:
    # It is called where the task ran, which `task.queue` says before all else.
    meant = {} if task.queue == queue else astray.elsewhere(message.headers, queue)
    headers = (
        _fresh(message, now)
        | meant
        | {
            state.FAILED_ID: task.id,
            state.FAILED_URL: without_login(task.url),
            state.FAILURE: begun(f"{decision.reason}: {decision.error}", _LONGEST_ERROR),
        }
    )
    properties = amqp.kept(message.properties) | {"message_id": roll_back_id(task.id)}
    return Publish(
        names.due(queue), (queue,), Message(state.roll_back_body(message.body), headers, properties)
    )


def _follow(message: Message, following: Following, queue: str, now: float) -> Publish:
    properties = amqp.kept(message.properties) | {"message_id": following.id}
    return Publish(names.due(queue), (queue,), Message(following.body, _fresh(message, now), properties))


def _fresh(message: Message, now: float) -> dict[str, Any]:
    """Give the headers of a task that follows from another: those that others wrote, and a new state."""
    headers = {name: value for name, value in amqp.stripped(message.headers).items() if not _ours(name)}
    return headers | {state.DUE: int(now * 1000), state.FIRST_SEEN: int(now * 1000)}


def _seen(task: Task | None) -> dict[str, Any]:
    return {} if task is None else {state.FIRST_SEEN: task.first_seen}


def _copy(message: Message, queue: str, headers: dict[str, Any], without: tuple[str, ...] = ()) -> Message:
    base = astray.copied(message.headers, queue)
    for name in without:
        base.pop(name, None)
    return Message(message.body, base | headers, amqp.kept(message.properties))


def _ours(name: object) -> bool:
    return str(name).startswith(amqp.PREFIX)
