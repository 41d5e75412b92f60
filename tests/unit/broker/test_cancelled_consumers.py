"""What is left of a consumer that is cancelled: nothing, as a queue is consumed anew again and again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from pika import frame, spec
from pika.callback import CallbackManager
from pika.channel import Channel

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection


class Connection:
    """One that sends nothing: the test answers for the broker."""

    server_properties = {"version": "3.10.8"}  # noqa: RUF012
    is_open = True

    def __init__(self) -> None:
        self.callbacks = CallbackManager()
        self.raw: Any = None

    def channel(self, on_open_callback: Any) -> Channel:
        """Give an open channel of pika's."""
        self.raw = Channel(cast("Any", self), 1, on_open_callback)
        self.raw._set_state(Channel.OPEN)
        return cast("Channel", self.raw)

    def _send_method(self, *_: object) -> None:
        """Send nothing."""

    def answer(self, method: Any) -> None:
        """Be the broker that answers."""
        self.callbacks.process(1, method, self.raw, frame.Method(1, method))


def test_pika_forgets_a_consumer_that_is_cancelled() -> None:
    """Its table of them would fill the memory of a consumer that runs for months."""
    connection = Connection()
    link = SimpleNamespace(later=lambda *_: None, monotonic=lambda: 0.0, blocked=False)
    channel = ConfirmChannel(
        cast("Link", link),
        cast("TolerantConnection", connection),
        opened=lambda _: None,
        closed=lambda *_: None,
    )
    ended: list[str] = []
    for _ in range(3):
        tag = channel.consume("q", lambda _: None, lambda: None)
        connection.answer(spec.Basic.ConsumeOk(consumer_tag=tag))
        assert list(connection.raw._consumers) == [tag]
        channel.cancel(tag, lambda tag=tag: ended.append(tag))  # type: ignore[misc]
        connection.answer(spec.Basic.CancelOk(consumer_tag=tag))
        assert ended.pop() == tag
        assert not connection.raw._consumers
