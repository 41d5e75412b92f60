"""The probes of a consumer: messages of our own that walk the ladders, and tell how late these are.

Of all consumers of a ladder one at a time sends them. The broker says which: it gives what comes to
`names.probe` to a single one, and nothing to the others. Each calls once when it begins, so that the one
learns of it. Whoever has got anything there holds the newest message unacked. So where it ends, however, the
next one gets that, and goes on.

What a probe has found is written to `names.probed`: before one is sent that it is on its way, confirmed, and
when it is back how late it was. So `inspect` can tell the probe from tasks on the same rung.

A broker with an alarm reads no more from a connection that publishes, so this goes over the one beside that
of the tasks. Nothing waits for a probe. One that is lost is sent again after minutes; one that a rung holds
costs that no more than one task does. Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from pika.exceptions import AMQPError

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.replies import REFUSALS, TOO_MANY_CHANNELS, away
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.probe_round import Round
from taskqueue.consume.reopening import Reopening
from taskqueue.durations import duration
from taskqueue.task.probe import Finding, call_publish, finding_publish, probe_publish, stay_seconds
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder

log = logging.getLogger(__name__)

PERIOD = 10.0
"""Seconds from one probe of a ladder to the next."""
_MOST_A_SECOND = 5
"""Probes of all ladders together: with more than fifty ladders each is probed less often."""
_LATE = 1.0
"""Seconds after which a probe that is not back is told to be late."""
_WORTH_TELLING = 10.0
_LOST, _DOUBLINGS = 300.0, 4
"""Seconds until another one is sent in place of one that does not come, doubled so often."""
_HELD_LONG = 600.0
"""The broker takes a message back, and closes the channel, where it is held for half an hour."""
_FORGIVEN = 600.0
"""Seconds after which a ladder is tried again that could not be probed."""
_AWAY = 30.0
"""Seconds after which one is whose queue was away. To ask for that may end the connection, each time."""
_WINDOW = 20


def period(ladders: int) -> float:
    """Give the seconds from one probe of a ladder to the next, where there are so many."""
    return max(PERIOD, ladders / _MOST_A_SECOND)


class Probes:
    """Probes each ladder, as long as it is this consumer's turn; `probed` is told how late each probe was.

    `clock` gives the seconds since the epoch.
    """

    def __init__(
        self,
        ladders: Iterable[str],
        rungs: Ladder,
        *,
        link: Link,
        probed: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._rounds = [Round(ladder) for ladder in ladders]
        self._rungs = rungs
        self._stay = stay_seconds(rungs)
        # Of a coarse ladder even the shortest rung takes long.
        self._period = max(period(len(self._rounds)), 10 * self._stay)
        self._link = link
        self._probed = probed
        self._clock = clock
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._asked: Round | None = None
        self._blocked = self._stopping = self._resting = False
        self._reopening = Reopening()

    def connected(self, connection: TolerantConnection) -> None:
        """Open a channel on a fresh connection, which is not that of the tasks."""
        if self._channel is not None:
            self._channel.abandon("another connection is in use")
        self._connection, self._blocked = connection, False
        connection.add_on_connection_blocked_callback(lambda *_: self._block(connection, now=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._block(connection, now=False))
        self._reopening.connected()
        self._open()

    def stop(self) -> None:
        """Leave it to another consumer, at once."""
        self._stopping = True
        if self._channel is not None:
            self._channel.close("stopping")

    def _block(self, connection: TolerantConnection, *, now: bool) -> None:
        if connection is not self._connection:
            return
        self._blocked = now
        for each in self._rounds:
            # The broker may not have read it, which tells nothing of the ladder.
            each.forget()

    def _open(self) -> None:
        connection = self._connection
        if connection is None or not connection.is_open or self._stopping or self._resting:
            return
        if self._channel is None:
            # A connection that allows few channels has none for this.
            with suppress(AMQPError):
                self._channel = ConfirmChannel(
                    self._link,
                    connection,
                    opened=self._opened,
                    closed=self._closed,
                    blocked=lambda: self._blocked,
                )

    def _opened(self, channel: ConfirmChannel) -> None:
        todo = iter([each for each in self._rounds if not each.barred])
        channel.prefetch(_WINDOW, lambda: self._consume(channel, todo))

    def _consume(self, channel: ConfirmChannel, todo: Iterable[Round]) -> None:
        """Take part for one ladder after the other: where the broker refuses, it is known for which."""
        if channel is not self._channel or not channel.is_open:
            return
        self._asked = current = next(iter(todo), None)
        if current is None:
            self._reopening.consuming(self._link.monotonic())
            return

        def begun() -> None:
            channel.publish(call_publish(current.ladder), _nothing)
            self._consume(channel, todo)

        channel.consume(names.probe(current.ladder), partial(self._received, current), begun)

    def _received(self, current: Round, delivery: Delivery) -> None:
        channel = delivery.channel
        if channel is not self._channel or not channel.is_open:
            return
        former, current.held = current.held, delivery.tag
        current.since = self._link.monotonic()
        if former is None:
            log.debug("%s: the probes are ours to send", current.ladder)
            place = self._rounds.index(current)
            self._link.later(self._period * place / len(self._rounds), partial(self._tick, channel, current))
        else:
            # What is newer tells the next one as well.
            channel.ack(former)
        mine = delivery.message.properties.get("message_id") == current.probe
        if mine and current.sent is not None:
            self._came(channel, current, current.since - current.sent - self._stay)

    def _came(self, channel: ConfirmChannel, current: Round, late: float) -> None:
        lateness = max(0.0, late)
        finding = Finding(current.probe or "", out=False, lateness=lateness)
        current.forget()
        current.tries = 0
        self._probed(current.ladder, lateness)
        self._write(channel, current, finding, _nothing)
        self._tell(current, lateness)
        if current.told and lateness < _WORTH_TELLING:
            log.info("ladder %s hands on in time again", current.ladder)
            current.told = False

    def _tick(self, channel: ConfirmChannel, current: Round) -> None:
        if channel is not self._channel or not channel.is_open:
            return
        self._link.later(self._period, partial(self._tick, channel, current))
        if self._blocked:
            return
        now = self._link.monotonic()
        if now - current.since > _HELD_LONG:
            channel.publish(call_publish(current.ladder), _nothing)
        if current.probe is None:
            self._send(channel, current)
        elif current.sent is not None and current.awaited is not None:
            late = now - current.awaited - self._stay
            if late > _LATE:
                self._write(channel, current, Finding(current.probe, out=True, lateness=late), _nothing)
                self._tell(current, late)
            if now - current.sent > _LOST * 2 ** min(current.tries, _DOUBLINGS):
                current.tries += 1
                self._send(channel, current)

    def _send(self, channel: ConfirmChannel, current: Round) -> None:
        probe = uuid.uuid4().hex
        current.probe, current.sent = probe, None

        def written(outcome: Outcome) -> None:
            if channel is not self._channel or current.probe != probe:
                return
            if outcome is not Outcome.CONFIRMED:
                # Without it the probe would count as a task.
                current.probe = None
                return
            current.sent = self._link.monotonic()
            current.awaited = current.awaited or current.sent
            publish = probe_publish(current.ladder, self._rungs, probe, self._clock())
            channel.publish(publish, sent)

        def sent(outcome: Outcome) -> None:
            if current.probe == probe and outcome is not Outcome.CONFIRMED:
                current.forget()

        self._write(channel, current, Finding(probe, out=True), written)

    def _write(
        self, channel: ConfirmChannel, current: Round, finding: Finding, then: Callable[[Outcome], None]
    ) -> None:
        channel.publish(finding_publish(current.ladder, finding, 3 * self._period), then)

    def _tell(self, current: Round, late: float) -> None:
        if current.told or late < _WORTH_TELLING:
            return
        current.told = True
        log.warning(
            "ladder %s is %s late: the broker does not hand on what is due; see 'taskqueue inspect' and "
            "rabbitmq-diagnostics",
            current.ladder,
            duration(late),
        )

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        for each in self._rounds:
            each.held = None
            each.forget()
        asked, self._asked = self._asked, None
        if TOO_MANY_CHANNELS in reason or (code in REFUSALS and asked is None):
            # By this one, perhaps: those who need the connection come first. Or it is an exchange.
            self._rest(reason)
        elif asked is not None and away(code, reason):
            log.warning("ladder %s is not probed for %s (%s)", asked.ladder, duration(_AWAY), reason)
            self._bar(asked, _AWAY)
        elif asked is not None and code in REFUSALS:
            self._refuse(asked, reason)
        if self._connection is not None and self._connection.is_open:
            self._link.later(self._reopening.delay(self._link.monotonic()), self._open)

    def _rest(self, reason: str) -> None:
        if self._resting:
            return
        log.warning("ladders are not probed by this consumer for %s (%s)", duration(_FORGIVEN), reason)
        self._resting = True

        def over() -> None:
            self._resting = False
            self._open()

        self._link.later(_FORGIVEN, over)

    def _refuse(self, refused: Round, reason: str) -> None:
        log.warning(
            "ladder %s is not probed by this consumer (%s): run 'taskqueue declare', give the user read "
            "permission on %s, or write 'probe = off'",
            refused.ladder,
            reason,
            names.probe(refused.ladder),
        )
        self._bar(refused, _FORGIVEN)

    def _bar(self, current: Round, seconds: float) -> None:
        current.barred = True

        def forgive() -> None:
            current.barred = False
            if self._channel is not None:
                # It takes part from the next time on that the channel is opened.
                self._channel.retire()

        self._link.later(seconds, forgive)


def _nothing(_outcome: Outcome) -> None:
    """Go by what comes back, and by what does not."""
