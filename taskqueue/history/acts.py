"""What operators do to tasks, queues and schedules, and who did it."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskqueue.events import Event, write
from taskqueue.history.recorder import recording
from taskqueue.settings import Settings


@contextmanager
def noted(
    settings: Settings,
    act: str,
    queue: str,
    *,
    tell: Callable[[str], None],
    to: str | None = None,
    at: float | None = None,
    reason: str | None = None,
    by: str | None = None,
) -> Iterator[Callable[[str | None], None]]:
    """Give what is to be called with the id of each task of a queue that something was done to.

    With the name of a schedule where it was done to that, with None where it was done to the queue itself.
    `to` is the queue that tasks were moved to, `at` when they come next or a pause ends (seconds since the
    epoch), `reason` what the operator said, `by` who that is where it is not the user of this machine.

    It writes a line of the log, and records it for the history, beside the command, which never waits for
    that but at its end: so let it say before what it did. A record that is lost is told to `tell`, and
    nothing else comes of that.
    """
    by = by or who()
    with recording(settings, lambda _: None, tell=tell) as listeners:

        def note(task_id: str | None) -> None:
            event = Event(act, queue, task_id, by=by, to=to, next=at, reason=reason)
            write(event)
            for listener in listeners:
                listener(event)

        yield note


def who() -> str:
    """Name the user of this machine who runs a command."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
