"""Which queues are paused: asked of the broker once a second. Everything here runs on the I/O thread.

A mandatory publish comes back where a queue is not paused, whoever leads its queues. It goes over a
connection beside that of the consumer: a broker with an alarm reads no more, not even acks, from a connection
that publishes. Without an answer what is known stays, and a queue of which nothing is known is not consumed:
as at first, and where the user may not ask. During an alarm, what is not known is looked at (`pause_look`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import pika
from pika.channel import Channel
from pika.exceptions import AMQPError

from taskqueue.broker.connect import reason
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.asks import Ask, Asks
from taskqueue.consume.pause_look import PauseLook
from taskqueue.consume.pause_notes import PauseNotes
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_PERIOD = 1.0
_HUNG = 4.0
"""Seconds without an answer after which another connection is made."""
_SILENCE = 10.0
"""Seconds without an answer after which the log says so."""
_FORGIVEN = 10.0
"""Seconds after which an exchange that could not be asked by is tried again."""
_EXCHANGE = re.compile(r"exchange '(.+)' in vhost")


class Pauses:
    """Asks for each queue (`ladders` gives its ladder), and calls `changed` where it is paused, or is not.

    It is told None where that can't be known any more. `beside` gets each connection beside that of the
    consumer, for others who publish and must not have it blocked by an alarm.

    After each `connected` nothing counts as known any more: `changed` is called for every queue.
    """

    def __init__(
        self,
        ladders: Mapping[str, str],
        link: Link,
        *,
        changed: Callable[[str, bool | None], None],
        beside: Callable[[TolerantConnection], None] | None = None,
    ) -> None:
        self._link = link
        self._changed = changed
        self._others = beside
        self._asks = Asks(ladders)
        self._notes = PauseNotes(link)
        self._main: TolerantConnection | None = None
        self._beside: TolerantConnection | None = None
        self._look: PauseLook | None = None
        self._asked: tuple[Ask, ...] = ()
        self._no: set[int] = set()
        self._blocked = False
        self._backoff = Backoff(_PERIOD, _SILENCE)

    def connected(self, connection: TolerantConnection) -> None:
        """Ask beside a fresh connection of the consumer, at the same broker."""
        self.disconnected()
        self._main = connection
        self._asks.forget()
        self._connect(connection)
        self._link.later(_SILENCE, partial(self._tell_silence, connection))

    def disconnected(self) -> None:
        """Ask no more: the connection of the consumer is gone, or is to end."""
        self._main = None
        self._end_look()
        beside, self._beside = self._beside, None
        # One that is being opened is closed when it is open.
        if beside is not None:
            self._link.drop(beside)

    def _connect(self, main: TolerantConnection) -> None:
        if main is not self._main or not main.is_open:
            return
        self._beside = TolerantConnection(
            main.params,
            on_open_callback=self._open,
            on_open_error_callback=self._lost,
            on_close_callback=self._lost,
            custom_ioloop=main.ioloop,
        )

    def _lost(self, connection: TolerantConnection, error: BaseException | str) -> None:
        if connection is not self._beside or self._main is None:
            return
        self._beside = None
        self._end_look()
        log.warning("the connection by which pauses are seen was lost (%s): trying again", reason(error))
        self._asks.doubt()
        self._link.later(self._backoff.next(), partial(self._connect, self._main))

    def _open(self, connection: TolerantConnection) -> None:
        if connection is not self._beside:
            connection.close()
            return
        self._blocked = False
        connection.add_on_connection_blocked_callback(lambda *_: self._block(connection, now=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._block(connection, now=False))
        self._notes.connected(connection)
        self._open_channel(connection)
        if self._others is not None:
            self._others(connection)

    def _open_channel(self, connection: TolerantConnection) -> None:
        if connection is self._beside and connection.is_open:
            connection.channel(on_open_callback=self._opened).add_on_close_callback(self._closed)

    def _block(self, connection: TolerantConnection, *, now: bool) -> None:
        if connection is not self._beside or self._main is None:
            return
        self._blocked = now
        self._end_look()
        if now and (unknown := self._asks.unknown):
            self._look = PauseLook(
                self._link, self._main, unknown, opened=self._notes.connected, seen=self._see
            )
        elif not now:
            self._notes.connected(connection)

    def _end_look(self) -> None:
        if self._look is not None:
            self._look.end()
            self._look = None

    def _see(self, queue: str, now: bool) -> None:  # noqa: FBT001 as told by `PauseLook`
        self._asks.see(queue, paused=now)
        self._tell(queue, now=now)

    def _opened(self, raw: Channel) -> None:
        raw.add_on_return_callback(self._returned)
        self._ask(raw)

    def _closed(self, raw: Channel, error: Exception) -> None:
        connection = raw.connection
        if connection is not self._beside or not connection.is_open:
            return
        told = getattr(error, "reply_text", None) or str(error)
        if found := _EXCHANGE.search(told):
            self._refuse(found[1], told)
        self._asks.doubt()
        self._link.later(_PERIOD, partial(self._open_channel, connection))

    def _refuse(self, exchange: str, told: str) -> None:
        log.error(
            "can't see by exchange %s whether queues are paused (%s): a queue that only it tells of is not "
            "consumed until it does; see 'taskqueue check'",
            exchange,
            told,
        )
        for queue in self._asks.refuse(exchange):
            self._changed(queue, None)
        self._link.later(_FORGIVEN, partial(self._asks.forgive, exchange))

    def _ask(self, raw: Channel) -> None:
        if not raw.is_open or raw.connection is not self._beside:
            return
        self._asked, self._no = self._asks.next(), set()
        for number, ask in enumerate(self._asked):
            first, *others = ask.keys
            headers = {"CC": others} if others else None
            _publish(raw, ask.exchange, first, number, headers)
        self._link.later(_HUNG, partial(self._look_after, raw, self._asked))
        if self._asked:
            # It comes back behind all that come back.
            _publish(raw, self._asked[-1].exchange, "nothing", len(self._asked))
        else:
            self._answered(raw)

    def _returned(self, raw: Channel, _method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        number = int(properties.message_id or 0)
        if number < len(self._asked):
            self._no.add(number)
        else:
            self._answered(raw)

    def _answered(self, raw: Channel) -> None:
        self._backoff.reset()
        yes = {ask for number, ask in enumerate(self._asked) if number not in self._no}
        self._tell_changes(self._asked, yes)
        # Nothing is out, and nothing that hangs.
        self._asked = ()
        self._link.later(0.0 if self._asks.urgent else _PERIOD, partial(self._ask, raw))

    def _look_after(self, raw: Channel, asked: tuple[Ask, ...]) -> None:
        """Start anew where a channel hangs: at the first publish to a quorum queue whose leader hangs."""
        connection = raw.connection
        if not asked or asked is not self._asked or connection is not self._beside or not raw.is_open:
            return
        if self._blocked:
            self._link.later(_HUNG, partial(self._look_after, raw, asked))
            return
        first = next(number for number in range(len(asked) + 1) if number not in self._no)
        self._tell_changes(asked[:first], set())
        if first < len(asked):
            self._asks.hung(asked[first])
        self._lost(connection, "no answer in time")
        # A close would wait for the channel; where the stream is ended without a reason, pika raises.
        connection._terminate_stream(TimeoutError("no answer"))  # type: ignore[attr-defined]  # noqa: SLF001

    def _tell_changes(self, asked: tuple[Ask, ...], yes: set[Ask]) -> None:
        for queue, now in self._asks.learn(asked, yes).items():
            self._tell(queue, now=now)

    def _tell(self, queue: str, *, now: bool) -> None:
        self._changed(queue, now)
        if now:
            self._notes.tell(queue)

    def _tell_silence(self, main: TolerantConnection) -> None:
        if main is self._main and (unknown := self._asks.unknown):
            log.warning(
                "the broker does not tell whether queues are paused, perhaps as it has an alarm: %d (%s, …) "
                "are not consumed until it does",
                len(unknown),
                unknown[0],
            )
            self._link.later(60.0, partial(self._tell_silence, main))


def _publish(
    raw: Channel, exchange: str, key: str, number: int, headers: dict[str, Any] | None = None
) -> None:
    properties = pika.BasicProperties(message_id=str(number), headers=headers, delivery_mode=1)
    with suppress(AMQPError):
        raw.basic_publish(exchange, key, b"", properties, mandatory=True)
