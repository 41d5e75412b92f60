"""Empty a queue into others: each message is published and confirmed there before it is acked here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from pika.connection import Parameters

from taskqueue.errors import BrokerUnreachable, PublishFailed, TaskqueueError
from taskqueue.link import ConfirmChannel, Link, Outcome, TolerantConnection
from taskqueue.link.wire import to_message
from taskqueue.message import DELIVERIES, Message, Publish

WINDOW = 64
"""Messages without a confirm at once: what is there twice when the command is killed."""
WIDE = 1000
"""The same, for where a later step drops what is there twice."""
Successor = Callable[[Message], Publish | None]
"""What to publish for a message; None: only ack it."""
_QUIET = 0.05
_LOOK = 0.02
_RETRY = 1.0
_MOST_FAILURES = 60
_GOODBYE = 5.0


class _Job:
    """One queue that is being emptied, from the first delivery to the close of its channel."""

    def __init__(self, source: str, successor: Successor, moved: Callable[[], None], window: int) -> None:
        self.source = source
        self.successor = successor
        self.moved = moved
        self.window = window
        self.heard = time.monotonic()
        self.in_flight = 0
        self.failures = 0
        self.error: TaskqueueError | None = None
        self.ended = threading.Event()

    def fail(self, error: TaskqueueError) -> None:
        self.error = self.error or error
        self.ended.set()


class Transfer:
    """A link that empties one queue after the other; whatever goes wrong ends it, and loses nothing."""

    def __init__(self, hosts: Sequence[Parameters], unfit: Successor) -> None:
        """Connect; `unfit` gives what to publish for a message whose headers can't be written again."""
        self._unfit = unfit
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._job: _Job | None = None
        self._attempts = 0
        self._hosts = len(hosts)
        self._link = Link(hosts, self, name="taskqueue-migrate")
        self._link.start()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._link.close(_GOODBYE)

    def drain(
        self,
        source: str,
        successor: Successor,
        *,
        ready: Callable[[], int],
        moved: Callable[[], None],
        window: int = WINDOW,
    ) -> None:
        """Move what `source` holds until `ready` counts nothing any more; `moved` is called for each.

        Raises BrokerUnreachable where the connection is lost, PublishFailed where a message is refused
        for a minute; what was not moved is still in `source`.
        """
        while ready():
            job = _Job(source, successor, moved, window)
            self._link.call(lambda job=job: self._begin(job))  # type: ignore[misc]
            while not job.ended.wait(_LOOK):
                quiet = time.monotonic() - job.heard > _QUIET
                if quiet and not job.in_flight and not ready():
                    # What the broker has sent and we have not seen yet comes back when the channel closes.
                    self._link.call(self._end)
                    job.ended.wait(_GOODBYE)
                    break
            if job.error is not None:
                raise job.error

    # --- on the I/O thread

    def connected(self, connection: TolerantConnection) -> None:
        """Begin what waits for it."""
        self._connection = connection
        if self._job is not None:
            self._begin(self._job)

    def disconnected(self, reason: str) -> None:
        """Give up: the broker hands out again what was not acked, to the command that is run next."""
        self._connection = None
        if self._channel is not None:
            self._channel.abandon(reason)
        if self._job is not None:
            self._job.fail(BrokerUnreachable(f"lost the connection to the broker ({reason})"))

    def unreachable(self, reason: str) -> None:
        """Give up once every host was tried in vain."""
        self._attempts += 1
        if self._attempts >= self._hosts and self._job is not None:
            self._job.fail(BrokerUnreachable(f"no broker: {reason}"))

    def _begin(self, job: _Job) -> None:
        self._job = job
        if self._connection is not None:
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=self._consume, closed=self._closed
            )

    def _consume(self, channel: ConfirmChannel) -> None:
        job = self._job
        if job is None:
            return
        channel.raw.basic_qos(prefetch_count=job.window)

        def received(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            job.in_flight += 1
            job.heard = time.monotonic()
            message = to_message(properties, body)
            if not method.redelivered:
                message = replace(message, headers=_without_count(message.headers))
            publish = job.successor(message)
            self._publish(job, channel, method.delivery_tag, publish)

        channel.raw.basic_consume(job.source, received)

    def _publish(self, job: _Job, channel: ConfirmChannel, tag: int, publish: Publish | None) -> None:
        if publish is None:
            self._settled(job, channel, tag)
        else:
            channel.publish(publish, lambda outcome: self._ended(job, channel, tag, publish, outcome))

    def _ended(
        self, job: _Job, channel: ConfirmChannel, tag: int, publish: Publish, outcome: Outcome
    ) -> None:
        match outcome:
            case Outcome.CONFIRMED:
                self._settled(job, channel, tag)
            case Outcome.LOST:
                pass
            case Outcome.UNFIT:
                self._publish(job, channel, tag, self._unfit(publish.message))
            case _:
                job.failures += 1
                job.heard = time.monotonic()
                if job.failures > _MOST_FAILURES * job.window:
                    where = publish.exchange or publish.routing_keys[0]
                    job.fail(
                        PublishFailed(f"{where} does not take a message of {job.source}: {outcome.value}")
                    )
                    return
                self._link.later(_RETRY, lambda: self._publish(job, channel, tag, publish))

    def _settled(self, job: _Job, channel: ConfirmChannel, tag: int) -> None:
        job.in_flight -= 1
        job.heard = time.monotonic()
        if channel.is_open:
            channel.raw.basic_ack(tag)
            job.moved()

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close("emptied")

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        if channel is not self._channel or self._job is None:
            return
        job, self._job, self._channel = self._job, None, None
        if code not in {0, _OK}:
            job.fail(PublishFailed(f"the channel on {job.source} was closed: {code} {reason}"))
        job.ended.set()


def _without_count(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if name != DELIVERIES}


_OK = 200
