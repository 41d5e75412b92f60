"""The publishes of one call, until each has ended in a confirm or an error."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from taskqueue.errors import BrokerUnreachable, PublishFailed, TaskqueueError
from taskqueue.task.message import Publish

LOOK = 0.1
"""Seconds between two looks at whether the broker has an alarm, of who does not wait for its end."""
_NAMED = 3
"""How many ids the text of an error holds at most."""


class Batch(Protocol):
    """What a publish tells how it ended, on the I/O thread; nothing of it is sent once it has an error."""

    error: TaskqueueError | None

    def confirmed(self, publish: Publish) -> None:
        """Learn that the broker has one."""

    def failed(self, error: TaskqueueError) -> None:
        """Learn that one was not sent."""


class Broker(Protocol):
    """What is known of the broker that publishes wait for."""

    @property
    def alarm(self) -> str:
        """Give the broker's words for an alarm that it has raised, empty where it has none."""

    @property
    def unreached(self) -> str | None:
        """Say why there never was a connection to it, None where there was one."""

    @property
    def lost(self) -> str | None:
        """Say why the last connection was lost, None where the broker has confirmed something since."""


class Outstanding:
    """The publishes of one call that have no confirm yet."""

    def __init__(self) -> None:
        self.confirmed = 0
        self._publishes: dict[int, Publish] = {}

    def __len__(self) -> int:
        return len(self._publishes)

    def began(self, publish: Publish) -> None:
        """Note one that is on its way."""
        self._publishes[id(publish)] = publish

    def ended(self, publish: Publish) -> None:
        """Note that the broker has it."""
        del self._publishes[id(publish)]
        self.confirmed += 1

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of their tasks."""
        return tuple(each.message.properties["message_id"] for each in self._publishes.values())

    def named(self, error: TaskqueueError) -> TaskqueueError:
        """Have an error of this call say which tasks it is about."""
        if isinstance(error, PublishFailed):
            error.ids = self.ids
        return error


class WaitingThread:
    """The publishes of one call of `send`, and the thread that waits for them."""

    def __init__(self, deadline: float, *, through_alarms: bool) -> None:
        self.deadline = deadline
        self._through_alarms = through_alarms
        self.error: TaskqueueError | None = None
        self._outstanding = Outstanding()
        self._changed = threading.Condition()

    def began(self, publish: Publish) -> None:
        """Note one that is on its way."""
        with self._changed:
            self._outstanding.began(publish)

    def confirmed(self, publish: Publish) -> None:
        """Note one that the broker has."""
        with self._changed:
            self._outstanding.ended(publish)
            self._changed.notify_all()

    def failed(self, error: TaskqueueError) -> None:
        """Give up the rest."""
        with self._changed:
            if self.error is None:
                self.error = error
            self._changed.notify_all()

    def wait_below(self, limit: int, broker: Broker) -> None:
        """Wait until fewer than `limit` are outstanding; raises what went wrong, or PublishFailed."""
        with self._changed:
            while len(self._outstanding) >= limit and self.error is None:
                left = self.deadline - time.monotonic()
                if left <= 0 or (broker.alarm and not self._through_alarms):
                    self.error = not_in_time(self._outstanding, broker)
                    break
                self._changed.wait(min(left, threading.TIMEOUT_MAX if self._through_alarms else LOOK))
            if self.error is not None:
                raise self._outstanding.named(self.error)


def not_in_time(outstanding: Outstanding, broker: Broker) -> TaskqueueError:
    """Say that confirms did not come, and what is to be done."""
    if (trouble := broker.unreached) is not None:
        return BrokerUnreachable(f"no broker: {trouble}")
    alarm, ids = broker.alarm, outstanding.ids
    why = f"it has raised an alarm, {alarm}, and takes no publishes" if alarm else broker.lost or "no answer"
    what, plural, they = ("it", "", "it") if len(ids) == 1 else ("those", "s", "they")
    which = ", ".join(ids) if len(ids) <= _NAMED else "those of this error"
    return PublishFailed(
        f"the broker did not confirm in time ({why}): {outstanding.confirmed} confirmed, {len(ids)} not; "
        f"send {what} again with the same id{plural}, {which}, as {they} may run all the same",
        ids=ids,
    )
