"""A task as a row of a list. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from taskqueue.operate.dead import DeadTask
from taskqueue.operate.reading import Facts, moment
from taskqueue.operate.waiting import WaitingTask

Row = Mapping[str, str | int | None]
"""Values by the name of their column; None where the message does not say."""
COLUMNS = {
    "waiting": {"id": "Id", "url": "URL", "due": "Due", "runs": "Runs", "error": "Last error"},
    "ready": {"id": "Id", "url": "URL", "due": "Due", "runs": "Runs", "error": "Last error"},
    "dead": {
        "id": "Id", "reason": "Reason", "url": "URL", "error": "Error", "at": "Died", "attempts": "Attempts",
    },
}  # fmt: skip
"""What is shown of tasks, by where they are."""


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
