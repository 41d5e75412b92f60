"""One publish on a channel of its own: a refusal closes that channel, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pika

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.replies import REFUSALS
from taskqueue.task.message import Publish

if TYPE_CHECKING:
    from taskqueue.broker.link import Link


class Trial:
    """Publishes one message; `ended` gets its outcome, and the broker's code and reason for a refusal.

    AMQP closes a channel over one bad publish without saying which, and everything else on the channel is
    lost with it. Here there is only one publish. Used on the I/O thread only.
    """

    def __init__(
        self,
        link: Link,
        connection: pika.SelectConnection,
        publish: Publish,
        ended: Callable[[Outcome, int, str], None],
    ) -> None:
        self._publish = publish
        self._ended = ended
        self._over = False
        self._channel = ConfirmChannel(link, connection, opened=self._opened, closed=self._closed)

    def abandon(self, reason: str) -> None:
        """End as lost, as the connection is gone."""
        self._channel.abandon(reason)

    def _opened(self, channel: ConfirmChannel) -> None:
        channel.publish(self._publish, self._done)

    def _done(self, outcome: Outcome) -> None:
        if outcome is not Outcome.LOST and not self._over:
            self._over = True
            self._channel.close("published")
            self._ended(outcome, 0, "")

    def _closed(self, _channel: ConfirmChannel, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            # When a connection ends, its code is also told to each of its channels.
            self._ended(Outcome.LOST, code if code in REFUSALS else 0, reason)
