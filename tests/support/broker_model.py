"""A model of what RabbitMQ promises a channel, below everything of ours; it does nothing unasked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeVar

import pika
from pika import spec
from pika.exceptions import ChannelClosedByBroker

from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import plan
from tests.support.routing import Routing

TRUE = "true-deaths"
"""A header of no meaning to us, so that it stays with a task: how often its attempt had no answer."""
OF = "true-deaths-of"
"""The task that it is the count of: what follows from a task has its headers."""
T = TypeVar("T")


def declared(rungs: Ladder) -> Routing:
    """Declare the queues q and other, each with a ladder of its own."""
    queues = {name: QueueSettings(name) for name in ("q", "other")}
    return Routing(plan(Settings(resolution=rungs.resolution, levels=rungs.levels, queues=queues).layout))


PRESENT, FORMER = declared(Ladder()), declared(Ladder(Decimal("0.001"), 1))
"""The ladder of the consumer, and one that has no rung for any of its tasks."""


@dataclass(eq=False)
class Entry:
    """One message in a queue, and what the broker and the model count of it."""

    body: bytes
    headers: dict[str, Any]
    properties: Mapping[str, Any]
    count: int = 0
    failed: int = 0
    """How often it came back by the end of a channel, and not by a nack or for being out too long."""
    delivered: bool = False
    rungs: tuple[str, ...] = ()
    """The wait queues on its way."""

    @property
    def id(self) -> str:
        """Its message_id."""
        return str(self.properties["message_id"])

    @property
    def deaths(self) -> int:
        """How often an attempt of this very task ended without an answer, since the last that had one."""
        return int(self.headers.get(TRUE, 0)) if self.headers.get(OF) == self.id else 0


@dataclass(eq=False)
class Sent:
    """A publish that the broker has not answered."""

    number: int
    exchange: str
    key: str
    entry: Entry

    @property
    def keys(self) -> tuple[str, ...]:
        """All that it is routed by."""
        return (self.key, *self.entry.headers.get("CC", ()))


class Channel:
    """pika's channel as the I/O thread sees it; answers to it come with the next `Broker.pump`."""

    def __init__(self, broker: Broker, opened: Callable[[Channel], None]) -> None:
        self.broker = broker
        self.is_open = True
        self.consumes = False
        self.sent: dict[int, Sent] = {}
        self.out: dict[int, Entry] = {}
        self.overdue: set[int] = set()
        """Taken back for being out too long, and not given up by the consumer."""
        self._consumers_of: dict[int, str] = {}
        self._consumer = 0
        self._consumers: dict[str, Callable[..., None]] = {}
        self.receive: Callable[..., None] | None = None
        self.cancelled: Callable[[], None] | None = None
        self._numbers = 0
        self._on: dict[str, Callable[..., None]] = {}
        broker.calls.append(lambda: opened(self) if self.is_open else None)

    # --- what pika offers

    def add_on_close_callback(self, function: Callable[..., None]) -> None:
        """Note it."""
        self._on["close"] = function

    def add_on_return_callback(self, function: Callable[..., None]) -> None:
        """Note it."""
        self._on["return"] = function

    def add_on_cancel_callback(self, function: Callable[..., None]) -> None:
        """Note it."""
        self._on["cancel"] = function

    def confirm_delivery(self, confirmed: Callable[..., None], selected: Callable[..., None]) -> None:
        """Note it, and go to confirm mode."""
        self._on["confirm"] = confirmed
        self.broker.calls.append(lambda: selected(None))

    def exchange_declare(self, _name: str, *, callback: Callable[..., None], **_options: Any) -> None:
        """Everything is there."""
        self.broker.calls.append(lambda: callback(None) if self.is_open else None)

    def exchange_unbind(self, exchange: str, _queue: str, _key: str) -> None:
        """Look at the permission."""
        if exchange in self.broker.denied:
            self.broker.calls.append(lambda: self.lose(403, f"ACCESS_REFUSED - exchange '{exchange}'"))

    def queue_declare(self, _name: str, *, callback: Callable[..., None], **_options: Any) -> None:
        """Everything is there."""
        found = SimpleNamespace(method=SimpleNamespace(message_count=0, consumer_count=1))
        self.broker.calls.append(lambda: callback(found) if self.is_open else None)

    def basic_qos(self, *, callback: Callable[..., None], **_options: Any) -> None:
        """Answer."""
        assert self.broker.is_open
        self.consumes = True
        self.broker.calls.append(lambda: callback(None))

    def basic_consume(
        self, _queue: str, *, on_message_callback: Callable[..., None], callback: Callable[..., None]
    ) -> str:
        """Begin to deliver, when the last cancel is through."""
        if self.cancelled is not None:
            self.broker.calls.append(self.cancelled)
            self.receive = self.cancelled = None
        assert self.receive is None, "it consumes twice"
        self.receive = on_message_callback
        self.broker.calls.append(lambda: callback(None))
        self._consumer += 1
        return self.tag

    @property
    def tag(self) -> str:
        """That of the present consumer, or of the last."""
        return f"consumer-{self._consumer}"

    def _rpc(self, _method: object, done: Callable[..., None], _replies: object) -> None:
        if self.receive is None:
            # The broker has ended that consumer: it answers at once.
            self.broker.calls.append(lambda: done(None))
        else:
            self.cancelled = lambda: done(None)

    def basic_publish(
        self, exchange: str, key: str, body: bytes, properties: pika.BasicProperties, *, mandatory: bool
    ) -> None:
        """Take it, and say nothing yet."""
        assert self.is_open
        assert mandatory
        assert not self.consumes, "where it is refused, all that is out on the channel comes back"
        if exchange in self.broker.denied:
            self.broker.calls.append(lambda: self.lose(403, f"ACCESS_REFUSED - exchange '{exchange}'"))
            return
        if not self.broker.routing.has(exchange):
            self.broker.calls.append(lambda: self.lose(404, f"NOT_FOUND - no exchange '{exchange}'"))
            return
        self._numbers += 1
        kept = {name: value for name, value in vars(properties).items() if value is not None}
        headers = dict(kept.pop("headers"))
        entry = Entry(body, headers, kept)
        self.sent[self._numbers] = Sent(self._numbers, exchange, key, entry)

    def basic_ack(self, tag: int, *, multiple: bool = False) -> None:
        """Forget what it names."""
        # Of what was taken back it says nothing, as the broker says nothing to it.
        if tag in self.overdue:
            self.overdue.remove(tag)
            return
        for each in self._named(tag, multiple=multiple):
            del self.out[each]

    def basic_nack(self, tag: int, *, requeue: bool) -> None:
        """Take it back."""
        assert requeue
        if tag in self.overdue:
            self.overdue.remove(tag)
            return
        for each in self._named(tag, multiple=False):
            self.broker.take_back(self.out.pop(each), failed=False)

    def close(self, *, reply_text: str) -> None:
        """Close it."""
        self.lose(0, reply_text)

    # --- what the broker does

    def deliver(self, pick: int) -> None:
        """Hand a message out."""
        assert self.receive is not None
        entry = take(self.broker.places["q"], pick)
        tag = next(self.broker.tags)
        self.out[tag] = entry
        self._consumers_of[tag] = self.tag
        counts = {"x-acquired-count": entry.count, "x-delivery-count": entry.failed}
        counted = counts if entry.delivered else {}
        properties = pika.BasicProperties(**entry.properties, headers={**entry.headers, **counted})
        method = SimpleNamespace(delivery_tag=tag, redelivered=entry.delivered)
        entry.delivered = True
        self.receive(self, method, properties, entry.body)

    @property
    def ends(self) -> bool:
        """Tell whether the broker would end it for what is out for too long, and not its consumer alone."""
        return self.receive is None or self._consumers_of[next(iter(self.out))] != self.tag

    def time_out(self) -> None:
        """Take back what is out for the longest time, and say so as 4.3 does.

        It ends the consumer, or the channel where that consumer had been cancelled.
        """
        tag, ends = next(iter(self.out)), self.ends
        self.broker.take_back(self.out.pop(tag), failed=False)
        self.overdue.add(tag)
        if ends:
            self.lose(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out")
        else:
            self.end_consumer()

    def end_consumer(self) -> None:
        """Say that the consumer is no more."""
        self.receive = None
        frame = SimpleNamespace(method=SimpleNamespace(consumer_tag=self.tag))
        self.broker.calls.append(lambda: self._on["cancel"](frame) if self.is_open else None)

    def confirm(self, pick: int, *, multiple: bool) -> None:
        """Say that it has a message, or all up to that one."""
        number = list(self.sent)[pick % len(self.sent)]
        for each in [each for each in self.sent if each == number or (multiple and each < number)]:
            self.broker.store(self.sent.pop(each))
        self._answer(spec.Basic.Ack(number, multiple))

    def refuse(self, pick: int) -> None:
        """Say that it has not taken a message."""
        self._answer(spec.Basic.Nack(take_key(self.sent, pick).number))

    def give_back(self, pick: int) -> None:
        """Say that a message led nowhere: it comes back, and is confirmed."""
        sent = take_key(self.sent, pick)
        method = SimpleNamespace(exchange=sent.exchange, routing_key=sent.key)
        properties = pika.BasicProperties(**sent.entry.properties, headers=sent.entry.headers)
        self._on["return"](self, method, properties, sent.entry.body)
        self._answer(spec.Basic.Ack(sent.number))

    def lose(self, code: int, reason: str, *, taken: int = 0, told: bool = True) -> None:
        """Close it; `taken` says how many of the publishes in sight had reached the queues."""
        if not self.is_open:
            return
        self.is_open = False
        for sent in list(self.sent.values())[: taken % (len(self.sent) + 1)]:
            self.broker.store(sent)
        for entry in self.out.values():
            self.broker.take_back(entry)
        self.sent, self.out, self.receive, self.cancelled = {}, {}, None, None
        if told:
            error = ChannelClosedByBroker(code, reason)
            self.broker.calls.append(lambda: self._on["close"](self, error))

    def _answer(self, method: Any) -> None:
        self._on["confirm"](SimpleNamespace(method=method))

    def _named(self, tag: int, *, multiple: bool) -> list[int]:
        named = [each for each in self.out if each == tag or (multiple and each < tag)]
        self.overdue -= {each for each in self.overdue if multiple and each < tag}
        assert tag in named, "an ack of what is not out closes the channel"
        return named


@dataclass(eq=False)
class Broker:
    """The queues, and the clock of all timers."""

    now: float = 1_700_000_000.0
    places: dict[str, list[Entry]] = field(
        default_factory=lambda: {"q": [], "other": [], "q.wait": [], "q.dead": []}
    )
    routing: Routing = PRESENT
    calls: list[Callable[[], None]] = field(default_factory=list)
    channels: list[Channel] = field(default_factory=list)
    tags: Iterator[int] = field(default_factory=lambda: count(1))
    """Of all channels: a tag names one delivery, so what came on another channel is not out on this one."""
    is_open: bool = True
    denied: set[str] = field(default_factory=set)
    """Exchanges that the user may not write to."""
    params = SimpleNamespace(frame_max=131_072)
    """What was negotiated."""
    server_properties: Mapping[str, str] = field(default_factory=lambda: {"version": "4.3.6"})
    """What it said of itself."""

    @property
    def publishing(self) -> list[Channel]:
        """List the channels with publishes that have no answer."""
        return [channel for channel in self.channels if channel.sent]

    def cut(self, taken: int, *, told: bool) -> None:
        """Close the connection, and all channels with it."""
        self.is_open = False
        for channel in self.channels:
            channel.lose(320, "CONNECTION_FORCED", taken=taken, told=told)

    def channel(self, *, on_open_callback: Callable[[Channel], None]) -> Channel:
        """Open a channel, as a connection does."""
        self.channels.append(Channel(self, on_open_callback))
        return self.channels[-1]

    def pump(self) -> None:
        """Let the I/O thread do all that it has been called for."""
        while self.calls:
            self.calls.pop(0)()

    def store(self, sent: Sent) -> None:
        """Put a publish where it leads."""
        entry = sent.entry
        if entry.headers.get("taskqueue-runs", 0) != entry.headers.get("runs-then", 0):
            # There was an answer.
            entry.headers |= {TRUE: 0, "runs-then": entry.headers.get("taskqueue-runs", 0)}
        journey = self.routing.reach(sent.exchange, sent.keys)
        entry.rungs = journey.rungs
        self.places["q.wait" if journey.rungs else journey.queue].append(entry)

    def walk(self, pick: int) -> None:
        """Have a waiting message come to its work queue, by whatever clock."""
        entry = take(self.places["q.wait"], pick)
        entry.headers["x-death"] = [{"queue": rung, "reason": "expired"} for rung in reversed(entry.rungs)]
        self.places["q"].append(entry)

    def take_back(self, entry: Entry, *, failed: bool = True) -> None:
        """Have an entry ready again, and count that."""
        entry.count += 1
        entry.failed += failed
        self.places["q"].append(entry)

    def everywhere(self) -> list[Entry]:
        """List all that is in a queue or out."""
        out = [entry for channel in self.channels for entry in channel.out.values()]
        return out + [entry for place in self.places.values() for entry in place]


def take(things: list[T], pick: int) -> T:
    """Take out whichever is meant."""
    return things.pop(pick % len(things))


def take_key(things: dict[int, T], pick: int) -> T:
    """Take out whichever is meant."""
    return things.pop(list(things)[pick % len(things)])
