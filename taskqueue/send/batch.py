"""The publishes of one call, until each has ended in a confirm or an error."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from taskqueue.errors import BrokerUnreachable, PublishFailed, TaskqueueError

LOOK = 0.1
"""Seconds between two looks at whether the broker has an alarm, of who does not wait for its end."""


class Batch(Protocol):
    """What a publish tells how it ended, on the I/O thread; nothing of it is sent once it has an error."""

    error: TaskqueueError | None

    def confirmed(self) -> None:
        """Learn that the broker has one more."""

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


class WaitingThread:
    """The publishes of one call of `send`, and the thread that waits for them."""

    def __init__(self, deadline: float, *, through_alarms: bool) -> None:
        self.deadline = deadline
        self._through_alarms = through_alarms
        self.error: TaskqueueError | None = None
        self._outstanding = 0
        self._confirmed = 0
        self._changed = threading.Condition()

    def began(self) -> None:
        """Count one that is on its way."""
        with self._changed:
            self._outstanding += 1

    def confirmed(self) -> None:
        """Count one that the broker has."""
        with self._changed:
            self._outstanding -= 1
            self._confirmed += 1
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
            while self._outstanding >= limit and self.error is None:
                left = self.deadline - time.monotonic()
                if left <= 0 or (broker.alarm and not self._through_alarms):
                    self.error = not_in_time(self._confirmed, self._outstanding, broker)
                    break
                self._changed.wait(min(left, threading.TIMEOUT_MAX if self._through_alarms else LOOK))
            if self.error is not None:
                raise self.error


def not_in_time(confirmed: int, outstanding: int, broker: Broker) -> TaskqueueError:
    """Say that confirms did not come, and what is to be done."""
    if (trouble := broker.unreached) is not None:
        return BrokerUnreachable(f"no broker: {trouble}")
    alarm = broker.alarm
    why = f"it has raised an alarm, {alarm}, and takes no publishes" if alarm else "no answer"
    return PublishFailed(
        f"the broker did not confirm in time ({why}): {confirmed} confirmed, "
        f"{outstanding} not; send those again with the same id"
    )
