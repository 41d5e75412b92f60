"""Makes an attempt that is watched, and says in words what became of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from taskqueue.cli import tables
from taskqueue.durations import duration
from taskqueue.redact import without_login, without_logins
from taskqueue.request.execute import Executor
from taskqueue.request.handlers.chain import Chain
from taskqueue.request.http.witness import Witness
from taskqueue.send.new_task import NewTask
from taskqueue.settings import QueueSettings
from taskqueue.task import decode as state
from taskqueue.task.decide import ASKS_FOR_TIME, Again, Dead, Decision, Done, on_result
from taskqueue.task.decode import Task
from taskqueue.task.message import Message
from taskqueue.task.result import Result

Show = Callable[[float, str, str], None]
"""Gets the seconds since the beginning, the name of a step, and what there is to say of it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A task as a consumer would have it before an attempt."""

    task: Task
    known: frozenset[str]
    """The headers, in lower case, that the task itself asks for."""

    @classmethod
    def of(cls, new: NewTask, number: int, now: float) -> Self:
        """Make one that has run `number` - 1 times; raises InvalidTask."""
        headers = {state.RUNS: number - 1} if number > 1 else {}
        body = state.encode(new.document())
        task = state.decode(Message(body, headers, {"message_id": new.id}), now=now)
        asked = (new.metadata or {}).get("headers")
        names = asked if isinstance(asked, dict) else {}
        return cls(task, frozenset(name.lower() for name in names))


@dataclass(slots=True)
class Explained:
    """What became of an attempt."""

    url: str
    attempt: int
    steps: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None
    seconds: float = 0.0
    decision: str = ""
    """done, again or dead."""
    reason: str | None = None
    error: str | None = None
    due: str | None = None
    """When it would run again, in UTC."""


def explain(attempt: Attempt, queue: QueueSettings, show: Show) -> Explained:
    """Make the attempt by the settings of a queue; `show` gets each step as it is over."""
    task, began = attempt.task, time.monotonic()
    explained = Explained(without_login(task.url), task.runs + 1)

    def tell(name: str, told: str) -> None:
        seconds, told = round(time.monotonic() - began, 3), without_logins(told)
        explained.steps.append({"step": name, "at": seconds, "told": told})
        show(seconds, name, told)

    reads = Chain(queue).reads_answers
    executor = Executor(queue, transport=Witness(queue, attempt.known, tell, needs_bodies=reads))
    try:
        result = executor.run(task, queue=queue.name)
    finally:
        executor.close()
    now = time.time()
    decision = on_result(task, result, queue, now=now, spread=random.uniform(-1, 1))
    explained.status, explained.seconds = result.status, round(result.seconds, 3)
    explained.error = getattr(decision, "error", None)
    if result.error is not None:
        tell("failed", result.error)
    tell("decision", "\n".join(_words(decision, task, result, queue, now)))
    match decision:
        case Done():
            explained.decision = "done"
        case Again(due=due):
            explained.decision, explained.due = "again", tables.moment(due / 1000)
        case Dead(reason=reason):
            explained.decision, explained.reason = "dead", reason
    return explained


def _words(decision: Decision, task: Task, result: Result, queue: QueueSettings, now: float) -> Iterator[str]:
    match decision:
        case Done(following=following):
            yield f"done: {_good(result)}"
            for each in following:
                yield f"task {each.id} would follow"
        case Again(due=due) if result.busy is not None:
            yield f"again in {duration(due / 1000 - now)}: no request was made, which costs no run"
        case Again(due=due, runs=runs, error=error):
            yield f"again: {error}"
            limit = queue.retry_limit if task.max_retries is None else task.max_retries
            of = "for ever" if limit is None else f"of {limit}"
            when = f"{duration(due / 1000 - now)}, at {tables.moment(due / 1000)}"
            yield f"attempt {runs + 1} {of} would be made in {when}"
            if result.retry_after is not None:
                heeded = "heeded" if result.status in ASKS_FOR_TIME else "heeded only with 429 and 503"
                yield f"Retry-After: {result.retry_after} ({heeded}, at most max_backoff_seconds)"
        case Dead(reason=reason, error=error):
            yield f"dead, reason {reason}: {error}"
            if task.roll_back is not None:
                yield f"roll_back would be called: {without_login(task.roll_back)}"


def _good(result: Result) -> str:
    status = f"status {result.status}"
    return f"a handler takes {status} for a success" if result.accepted else f"{status} is in success_status"
