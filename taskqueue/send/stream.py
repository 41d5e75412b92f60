"""Many tasks, each with a confirm of its own, for who has to know which of them the broker has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from taskqueue.errors import PublishFailed, TaskqueueError
from taskqueue.send.batch import LOOK, Outstanding, not_in_time
from taskqueue.send.new_task import NewTask
from taskqueue.send.producer import Producer
from taskqueue.task.message import Publish

WINDOW = 1000
"""Tasks that may be without a confirm at once."""


class _One:
    """A task that is on its way."""

    __slots__ = ("_stream", "error", "publish")

    def __init__(self, stream: Stream, publish: Publish) -> None:
        self.error: TaskqueueError | None = None
        self.publish = publish
        self._stream = stream

    def confirmed(self, _publish: Publish) -> None:
        """Learn that the broker has it; on the I/O thread."""
        self._stream.ended(self, None)

    def failed(self, error: TaskqueueError) -> None:
        """Learn that it was not sent."""
        self.error = error
        self._stream.ended(self, error)


class Stream:
    """Sends tasks one by one; `confirmed` gets the id of each that the broker has, on the I/O thread.

    The first failure ends it, and an alarm of the broker at once. What is confirmed beside that is told all
    the same.
    """

    def __init__(self, producer: Producer, timeout: float, confirmed: Callable[[str], None]) -> None:
        self._producer = producer
        self._sender = producer.sender()
        self._timeout = timeout
        self._confirmed = confirmed
        self._outstanding = Outstanding()
        self._on_their_way: set[_One] = set()
        self._error: TaskqueueError | None = None
        self._since = time.monotonic()
        self._changed = threading.Condition()

    def send(self, task: NewTask) -> None:
        """Begin to send a task; waits while WINDOW of them have no confirm.

        Raises InvalidTask, or ConfigError for a queue of no section, over this one; and whatever the broker
        said of an earlier one, after which nothing more is sent.
        """
        publish = self._producer.publish(task)
        self._wait_below(WINDOW)
        one = _One(self, publish)
        with self._changed:
            if not self._on_their_way:
                self._since = time.monotonic()
            self._on_their_way.add(one)
            self._outstanding.began(publish)
        self._sender.begin(publish, one)

    def finish(self) -> None:
        """Wait for every confirm; raises the first failure."""
        self._wait_below(1)

    def settle(self) -> None:
        """Wait for what is on its way, without an error, and send nothing more of it after that."""
        deadline = time.monotonic() + self._timeout
        with self._changed:
            while self._on_their_way and time.monotonic() < deadline and not self._sender.alarm:
                self._changed.wait(LOOK)
            for one in self._on_their_way:
                one.error = one.error or PublishFailed("given up")

    def ended(self, one: _One, error: TaskqueueError | None) -> None:
        """Take the outcome of a task."""
        if error is None:
            try:
                self._confirmed(one.publish.message.properties["message_id"])
            except TaskqueueError as failure:
                error = failure
        with self._changed:
            self._on_their_way.discard(one)
            self._since = time.monotonic()
            if error is None:
                self._outstanding.ended(one.publish)
            self._error = self._error or error
            self._changed.notify_all()

    def _wait_below(self, limit: int) -> None:
        with self._changed:
            while len(self._on_their_way) >= limit and self._error is None:
                left = self._since + self._timeout - time.monotonic()
                if left <= 0 or self._sender.alarm:
                    self._error = not_in_time(self._outstanding, self._sender)
                    break
                self._changed.wait(min(left, LOOK))
            if self._error is not None:
                raise self._outstanding.named(self._error)
