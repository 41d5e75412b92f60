"""What becomes of a task: pure functions of (task, result, policy, now) that give a value.

Nothing here publishes or acks; settle.py turns a decision into messages.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from datetime import UTC, datetime

from taskqueue.durations import duration
from taskqueue.settings import QueueSettings
from taskqueue.task.address import quoted
from taskqueue.task.backoff import backoff, retry_after
from taskqueue.task.decode import Task
from taskqueue.task.fields import is_full
from taskqueue.task.result import Following, Result, succeeded

_LONG_AGO = 365 * 86_400
_SOONEST_MOVE = 1.0
"""Seconds until a move is tried again, however short the queue's backoff is."""
_A_LENGTH_OF_TIME = 1_000_000_000
"""A time below this (POSIX seconds) lies before 2001: most likely a length in seconds was meant."""
ASKS_FOR_TIME = frozenset({429, 503})
"""The statuses whose Retry-After is heeded (RFC 6585, 4; RFC 9110, 15.6.4)."""


@dataclass(frozen=True, slots=True)
class Run:
    """The task is due: make the request."""

    alone: bool = False
    """The task may be what ends consumers: run nothing beside it, as the broker would count that too."""


@dataclass(frozen=True, slots=True)
class Done:
    """The task has succeeded: publish what follows from that, and ack."""

    following: tuple[Following, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """The task belongs in another queue."""

    queue: str


@dataclass(frozen=True, slots=True)
class Home:
    """It is no task but a wake-up of schedules that has gone astray: send it to the queue that it is for."""

    wake: str


@dataclass(frozen=True, slots=True)
class Again:
    """The task runs at `due` (milliseconds since the epoch): put it on the ladder."""

    due: int
    runs: int
    error: str | None
    crashes: int = 0
    """How often the broker has handed the task out without an answer, where it now begins to count anew."""
    refusals: int = 0
    """How often the queue that the task names could not take it; 0 where this is about something else."""
    early: bool = False
    """The task came before its time: a ladder too short for it, another clock, or no way on the ladder."""
    unpermitted: bool = False
    """As many run at once as may (`max_concurrency`)."""


@dataclass(frozen=True, slots=True)
class Dead:
    """The task will not run again: publish it to the dead queue, and its roll_back."""

    reason: str
    error: str
    runs: int
    rolls_back: bool = False
    """The roll_back is called though it is invalid: what can't be kept of it is no mistake to be mended."""


Decision = Done | Again | Dead
FAILED, EXPIRED, INVALID = "failed", "expired", "invalid"
UNKNOWN_QUEUE, DELIVERY_LIMIT = "unknown_queue", "delivery_limit"
CANCELLED = "cancelled"
"""By an operator, while it waited."""


def on_receipt(
    task: Task, policy: QueueSettings, known: Container[str], *, deliveries: int, now: float
) -> Run | Move | Again | Dead:
    """Decide what to do with a task that came from the queue of `policy`.

    `known` holds the queues of the configuration. `deliveries` is how often the task was handed out
    before without an answer (``x-delivery-count`` and its `crashes`). `now` is in seconds since the
    epoch.
    """
    # A task that finds no way on a shared ladder comes to the queue of that name, whatever queue it is for.
    wanted = task.queue or task.meant_for
    if wanted is not None and wanted != policy.name:
        if wanted in known:
            return Move(wanted)
        return Dead(UNKNOWN_QUEUE, f"queue: {wanted!a} is in no section of taskqueue.ini", task.runs)
    if task.due > now * 1000:
        return Again(task.due, task.runs, task.error, early=True)
    if task.expires is not None and now > task.expires:
        return Dead(EXPIRED, task.error or _expired(task.expires, now), task.runs)
    return _unfit(task, policy, deliveries) or Run(alone=suspect(policy, deliveries))


def unmoved(task: Task, policy: QueueSettings, *, now: float, spread: float) -> Again:
    """Decide what follows where the queue that a task names does not take it for now: another try, later.

    It waits on the ladder of the queue of `policy`, where it came to, with that queue's backoff. It has not
    run, so no run is counted, and whether it has expired is judged where it belongs.
    """
    refusals = task.refusals + 1
    wait = max(_SOONEST_MOVE, backoff(policy, refusals, spread))
    due = max(task.due, math.ceil((now + wait) * 1000))
    return Again(due, task.runs, task.error, crashes=task.crashes, refusals=refusals)


def _expired(expires: float, now: float) -> str:
    ago = f"{duration(now - expires)} ago"
    if now - expires < _LONG_AGO:
        return f"expired {ago}"
    at = datetime.fromtimestamp(expires, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    hint = ": expires is a time, POSIX seconds" if expires < _A_LENGTH_OF_TIME else ""
    return f"expired {at}, {ago}{hint}"


def suspect(policy: QueueSettings, deliveries: int) -> bool:
    """Tell whether a task that was handed out so often without an answer may be what ends its consumers."""
    return deliveries >= max(1, policy.delivery_limit // 2)


def _unfit(task: Task, policy: QueueSettings, deliveries: int) -> Dead | None:
    for name, url in (("url", task.url), ("roll_back", task.roll_back)):
        if url is not None and policy.base_url is None and not is_full(url):
            error = f"{name}: {quoted(url)} is a path, and queue {policy.name!a} has no base_url"
            return Dead(INVALID, error, task.runs)
    if deliveries >= policy.delivery_limit:
        error = (
            f"handed out {deliveries + 1} times without an answer: each time it may end its consumer, or run "
            "for longer than the broker lets a delivery stay unacked (consumer_timeout)"
        )
        return Dead(DELIVERY_LIMIT, error, task.runs)
    return None


def on_result(task: Task, result: Result, policy: QueueSettings, *, now: float, spread: float) -> Decision:
    """Decide what follows an attempt; `spread`, from -1 to 1, says where in the jitter it falls."""
    if result.busy is not None:
        return Again(math.ceil((now + result.busy) * 1000), task.runs, task.error)
    if result.invalid:
        return Dead(INVALID, result.error or "", task.runs)
    if succeeded(result, policy):
        return Done(result.following)
    runs = task.runs + 1
    error = result.error or f"status {result.status}"
    if result.stop is not None:
        error = f"{error}, stopped by the receiver: {result.stop}"
    limit = policy.retry_limit if task.max_retries is None else task.max_retries
    hopeless = result.permanent or result.stop is not None or result.status in policy.permanent_status
    if hopeless or (limit is not None and runs >= limit):
        return Dead(FAILED, error, runs)
    wait = backoff(policy, runs, spread)
    if result.status in ASKS_FOR_TIME:
        wait = max(wait, retry_after(result.retry_after, policy, now))
    return Again(math.ceil((now + wait) * 1000), runs, error)
