"""The deliveries of one queue, on the I/O thread: their channel, as long as there is one, and their acks."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.replies import ACCESS_REFUSED, absent, unacked_too_long
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume import losses
from taskqueue.consume.acks import Acks
from taskqueue.consume.former import Former
from taskqueue.consume.looks import Looks
from taskqueue.consume.parting import Parting
from taskqueue.consume.phases import Asked, Phase
from taskqueue.consume.reopening import Reopening
from taskqueue.consume.room import Room
from taskqueue.consume.window import Window
from taskqueue.topology import names
from taskqueue.topology.plan import essentials

log = logging.getLogger(__name__)


class Deliveries:
    """Takes deliveries from one queue and acks them.

    A delivery belongs to the channel on which it came. When that is lost, `lost` is called, and the delivery
    can't be acked any more: the broker hands it out again. `left` is called once nothing more can come after
    `pause` or `stop`. `missing` is called with the reason where something of the queue is not declared,
    `refused` where the user may not do what its consumer does, and nothing of it was ever consumed.
    `hoarding` is called where more is out than is soon worked off, as the receivers turned slow, or hang.
    """

    def __init__(
        self,
        queue: str,
        window: Window,
        link: Link,
        *,
        ladder: str,
        received: Callable[[Delivery], None],
        lost: Callable[[], None],
        left: Callable[[], None],
        missing: Callable[[str], None],
        refused: Callable[[str], None],
        hoarding: Callable[[], None],
    ) -> None:
        self._ladder = ladder
        self._refused = refused
        self._queue = queue
        self._window = window
        self._link = link
        self._received = received
        self._lost = lost
        self._left = left
        self._missing = missing
        self._room = Room(queue, window)
        self._looks = Looks(link, window, self._room, anew=self._consume_anew, hoarding=hoarding)
        self.parting = Parting(link, self._cancel)
        """What puts off all that makes room, while the consumer is about to be cancelled."""
        self._asked = Asked.TO_STAY
        self._state = Phase.CLOSED
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._former = Former(link, left)
        self._consumer_tag, self._agreed = "", False
        """The broker has agreed that it hands messages out."""
        self._reopening = Reopening()

    def connected(self, connection: TolerantConnection) -> None:
        """Open a channel on a fresh connection."""
        self._connection = connection
        self._reopening.connected()
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel with all that is out on it: the broker hands it out again."""
        self._connection = None
        self._former.abandon(reason)
        if self._channel is not None:
            self._channel.abandon(reason)

    def stop(self) -> None:
        """Take no more; what is on its way still comes, what is out can still be acked."""
        self._asked = Asked.TO_LEAVE
        self._leave()

    def pause(self, *, full: bool = False) -> None:
        """Take no more until `resume`; if `full`, the consumer stays while all of its window is out."""
        if self._asked is Asked.TO_STAY:
            self._asked = Asked.TO_PAUSE
        # What is out at a cancelled consumer may stay out where a node is lost (docs/operate.md).
        if not (full and self.exhausted):
            self._leave()

    def resume(self, *, quietly: bool = False) -> None:
        """Take deliveries again; `quietly` after a moment that is not worth a line."""
        if self._asked is Asked.TO_PAUSE:
            self._asked = Asked.TO_STAY
            self._consume(anew=quietly and self._agreed)
            if self.exhausted:
                self._consume_anew()

    @property
    def paused(self) -> bool:
        """Tell whether nothing more can come."""
        ended = self._state in {Phase.CLOSED, Phase.OPENING, Phase.READY} and not self._former.coming
        return ended and self._asked is not Asked.TO_STAY

    @property
    def consumed(self) -> bool:
        """Tell whether the broker hands out what is due, or is asked not to for a moment."""
        coming = self._state in {Phase.CONSUMING, Phase.PARTING} and self._agreed
        return coming or (self._asked is Asked.TO_PAUSE and self._state is not Phase.CLOSED)

    @property
    def exhausted(self) -> bool:
        """No other delivery can come before one of those that are out is settled."""
        return self._room.all_out

    @property
    def just_acked(self) -> bool:
        """Tell whether the broker may not have got to all acks."""
        return self._former.just_acked or self._room.just_acked(self._link.monotonic())

    def holds(self, delivery: Delivery) -> bool:
        """Tell whether a delivery can still be acked."""
        return self._acks(delivery) is not None

    def ack(self, delivery: Delivery) -> None:
        """Ack a delivery, together with others that are ready by then."""
        if (acks := self._acks(delivery)) is not None and acks.settle(delivery.tag):
            self._link.call(self.flush)

    def give_back(self, delivery: Delivery) -> None:
        """Let another consumer have a delivery at once that this one will not run."""
        self.parting.after(lambda: self._requeue(delivery))

    def set_aside(self, delivery: Delivery) -> None:
        """Note that a delivery can't be settled for now: others are handed out in its place."""
        ours = delivery.channel is self._channel and self.holds(delivery)
        if ours and self._room.set_aside(delivery.tag, len(delivery.message.body)):
            self._looks.watch()
            self._make_room()

    def flush(self) -> None:
        """Send the acks that are ready."""
        self._former.flush()
        if self._channel is None or not self._channel.is_open or self.parting.waits:
            return
        now = self._link.monotonic()
        # Before the acks: with all of the window out, nothing is on its way that it would have to wait for.
        if self._room.resized(now) or self._asked is Asked.TO_PAUSE:
            self._consume_anew()
        self._make_room()
        for ack in self._room.flush(now) if self._state is not Phase.PARTING else ():
            self._channel.ack(ack.tag, multiple=ack.multiple)
        if self._room.goes_on():
            self._consume_anew()

    def _acks(self, delivery: Delivery) -> Acks | None:
        if delivery.overdue:
            return None
        return self._room.acks if delivery.channel is self._channel else self._former.acks(delivery.channel)

    def _requeue(self, delivery: Delivery) -> None:
        if (acks := self._acks(delivery)) is not None and delivery.channel.is_open:
            acks.forget(delivery.tag)
            delivery.channel.requeue(delivery.tag)

    def _open(self) -> None:
        if self._connection is None or self._asked is Asked.TO_LEAVE or self._channel is not None:
            return
        if self._connection.is_open:
            self._state = Phase.OPENING
            self._agreed = False
            self._room.opened()
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=self._verify, closed=self._closed
            )

    def _verify(self, channel: ConfirmChannel) -> None:
        """Look up everything that settling needs, as a publish to what is missing closes the channel.

        What can't be settled would be held here for nothing, and what nobody can pause must not begin.
        """
        channel.require(self._queue, names.written(self._queue, self._ladder))
        channel.verify(essentials(self._queue), lambda: self._verified(channel))

    def _verified(self, channel: ConfirmChannel) -> None:
        if channel is self._channel:
            self._state = Phase.READY
            self._consume()

    def _consume(self, *, anew: bool = False) -> None:
        ready = self._state in {Phase.READY, Phase.LEAVING}
        if ready and self._asked is Asked.TO_STAY and self._channel is not None and self._channel.is_open:
            self._state = Phase.CONSUMING
            self._agreed = self._agreed and anew
            # What is out of an earlier consumer is not in the window of this one.
            self._channel.prefetch(self._room.begin(), lambda: None)
            begun = (lambda: None) if anew else self._consuming
            self._consumer_tag = self._channel.consume(self._queue, self._delivered, begun, self._cancelled)

    def _delivered(self, delivery: Delivery) -> None:
        if (acks := self._acks(delivery)) is None:
            return
        acks.delivered(delivery.tag, self._link.monotonic())
        self._window.arrived(len(delivery.message.body), self._link.monotonic())
        self._looks.watch()
        self._received(delivery)
        self.parting.delivered(self._room)
        self._make_room()

    def _consuming(self) -> None:
        self._agreed = True
        log.info("consuming from %s", self._queue)
        self._reopening.consuming(self._link.monotonic())

    def _consume_anew(self) -> None:
        """Have another window, and nothing in it: that of a consumer never changes."""
        if self._state is Phase.CONSUMING and (self._asked is not Asked.TO_STAY or not self._room.full):
            self._leave()

    def _make_room(self) -> None:
        if self._room.is_short():
            self._consume_anew()

    def _leave(self) -> None:
        """Have the broker hand out no more."""
        if self._channel is None or self._state is not Phase.CONSUMING:
            return
        # Nothing comes on a channel that is being closed.
        self._state = Phase.PARTING if self._channel.is_open else Phase.READY
        if self._state is Phase.PARTING:
            self.parting.begin(self._room)

    def _cancel(self) -> None:
        if self._channel is None or not self._channel.is_open:
            return
        self._state = Phase.LEAVING
        tag = self._consumer_tag

        def gone() -> None:
            # By now another consumer may be there, and may be leaving too.
            if self._state is Phase.LEAVING and self._consumer_tag == tag:
                self._state = Phase.READY
            self._left()

        self._channel.cancel(tag, gone)
        self._consume(anew=True)
        self._link.call(self._left)
        self._link.call(self.flush)

    def _cancelled(self, channel: ConfirmChannel) -> None:
        """Consume over another channel: 4.3 has ended a consumer over what is overdue, or with its queue."""
        if channel is not self._channel or not channel.is_open:
            return
        acks = self._room.acks
        held = acks.aside if acks.eldest_is_aside else 0
        channel.released.update(overdue := acks.eldest(self._link.monotonic()))
        self._former.keep(channel, acks, self._consumer_tag, overdue)
        channel.count(self._queue, lambda _: losses.tell_overdue(self._queue, "", held=held))
        self._channel, self._state = None, Phase.CLOSED
        self._window.lost()
        self.parting.end()
        self._open()
        self._lost()

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        former = self._former.lost(channel)
        if former is None and channel is not self._channel:
            return
        acks = self._room.acks if former is None else former
        overdue, begun = unacked_too_long(code, reason), self._state is not Phase.OPENING
        if overdue:
            channel.released.update(acks.eldest(self._link.monotonic()))
        held = acks.aside if acks.eldest_is_aside else 0
        if former is None:
            self._channel, self._state = None, Phase.CLOSED
            self._window.lost()
            self.parting.lost()
        self._lost()
        if self._asked is Asked.TO_LEAVE or self._connection is None or not self._connection.is_open:
            return
        if former is not None:
            if overdue:
                losses.tell_overdue(self._queue, reason, held=held)
            return
        refused = code == ACCESS_REFUSED and not begun
        told = losses.tell(self._queue, self._ladder, code, reason, held=held, refused=refused)
        if refused and not self._reopening.ever_consumed:
            self._refused(told)
        if absent(code, reason) and not self._reopening.ever_consumed:
            self._missing(reason)
        self._link.later(self._reopening.delay(self._link.monotonic()), self._open)
