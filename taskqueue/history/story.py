"""What became of a task, in words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from taskqueue import events
from taskqueue.history.records import Record


def ending(task_id: str, records: Sequence[Record]) -> str:
    """Say how it stands with a task by the last of its records, which are in the order of their time."""
    own = [each for each in records if each.get("id") == task_id]
    if not own:
        return f"{task_id}: nothing is recorded: it was not tried yet, or before what the history keeps"
    last = own[-1]
    return f"{task_id}: {_told(last)}"


def _told(last: Record) -> str:
    event, attempt = last.get("event"), last.get("attempt")
    tries = "1 attempt" if attempt == 1 else f"{attempt} attempts"
    where = ", ".join(str(last[key]) for key in ("to", "next") if last.get(key)) or "?"
    by = f" by {last['by']}" if last.get("by") else ""
    words = {
        events.DONE: f"it is done, after {tries}",
        events.RETRIED: f"attempt {attempt} failed; the next one is due at {last.get('next', '?')}",
        events.DEAD: f"it is dead ({last.get('reason', '?')}), after {tries}",
        events.VOID: f"attempt {attempt} was cut off from the broker, and the task comes again",
        events.MOVED: f"it was moved to {where}{by}",
    }
    return words.get(str(event), f"it was {event}{by}")
