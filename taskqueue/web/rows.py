"""A task as a row of a list. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from taskqueue.history import wanted
from taskqueue.history.records import Record
from taskqueue.operate.dead import DeadTask
from taskqueue.operate.reading import Facts, moment
from taskqueue.operate.waiting import WaitingTask

Row = Mapping[str, str | int | None]
"""Values by the name of their column; None where the message does not say."""
COLUMNS = {
    "waiting": ("id", "due", "url", "error", "runs", "rung"),
    "ready": ("id", "url", "error", "runs", "due"),
    "dead": ("id", "reason", "url", "error", "at", "attempts"),
}
"""What is shown of tasks, by where they are: the columns of the commands."""


def title(name: str) -> str:
    """Write the name of a column above it."""
    return {"url": "URL", "ms": "ms"}.get(name, name[:1].upper() + name[1:])


def record_row(record: Record) -> Row:
    """Show a record of the history."""
    return {name: record.get(name) for name in wanted.COLUMNS} | {"at": moment(record["at"] / 1000)}


def waiting_row(task: WaitingTask) -> Row:
    """Show a task that waits."""
    return {
        "id": task.id, "url": task.url, "due": moment(task.due), "runs": task.runs, "error": task.error,
        "rung": task.rung,
    }  # fmt: skip


def ready_row(facts: Facts) -> Row:
    """Show a task that is ready."""
    return {
        "id": facts.id, "url": facts.url, "due": moment(facts.due), "runs": facts.runs, "error": facts.error,
    }  # fmt: skip


def dead_row(task: DeadTask) -> Row:
    """Show a task that is dead."""
    return {
        "id": task.id, "reason": task.reason, "url": task.url, "attempts": task.attempts,
        "replays": task.replays, "error": task.error, "at": moment(task.at),
        "first_seen": moment(task.first_seen),
    }  # fmt: skip
