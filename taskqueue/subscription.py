"""One queue of a consumer: its channel, its deliveries, and their way to an ack.

Everything here runs on the I/O thread, apart from `_finished`, which the workers call.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Container
from typing import Any, Protocol

from taskqueue.acks import Acks
from taskqueue.decide import INVALID, Again, Dead, Done, Move, Run, on_receipt, on_result
from taskqueue.errors import InvalidTask
from taskqueue.execute import Executor, Result
from taskqueue.link import ConfirmChannel, Link, TolerantConnection
from taskqueue.link.wire import to_message
from taskqueue.message import Message
from taskqueue.metrics import Metrics
from taskqueue.pace import Pace
from taskqueue.settings import QueueSettings
from taskqueue.settle import successors
from taskqueue.settlement import Settlement
from taskqueue.task import Task, decode
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import Exchange, essentials
from taskqueue.workers import Attempt, Delivery, Workers

log = logging.getLogger(__name__)

_NOT_FOUND = 404
_ANY_SUCCESS = range(200, 300)
_MOST_TOLD = 1000
_REOPEN = 1.0
_LONGEST_REOPEN = 10.0


class Owner(Protocol):
    """What a subscription tells its consumer."""

    def missing(self, queue: str, reason: str) -> None:
        """Something of `queue` is not declared, and nothing of it was ever consumed."""

    def progressed(self) -> None:
        """A task was settled: a consumer that stops may be done now."""


class Subscription:
    """Takes due tasks from one queue, has them run, and settles them."""

    def __init__(
        self,
        queue: QueueSettings,
        *,
        ladder: Ladder,
        known: Container[str],
        link: Link,
        owner: Owner,
        metrics: Metrics,
        rate_share: float = 1.0,
    ) -> None:
        self.queue = queue
        self._ladder = ladder
        self._known = known
        self._link = link
        self._owner = owner
        self._metrics = metrics
        self._pace = Pace(queue.rate.per_second * rate_share) if queue.rate else None
        self._workers = Workers(Executor(queue), queue.name, queue.concurrency, self._finished)
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._consumer_tag: str | None = None
        self._acks = Acks()
        self._results: deque[tuple[Attempt, Result]] = deque()
        self._draining = False
        self._flushing = False
        self._stopping = False
        self._ever_consumed = False
        self._reopenings = 0
        self._running = 0
        self._settling = 0
        self._told: set[str] = set()

    @property
    def prefetch(self) -> int:
        """How many deliveries are out at once: what runs, and enough behind it to go on at once."""
        return self.queue.concurrency * 2 + 10

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits for a confirm."""
        return not self._running and not self._settling

    def start(self) -> None:
        """Start the workers; the channel is opened when the link is up."""
        self._workers.start()

    def connected(self, connection: TolerantConnection) -> None:
        """Open a channel on a fresh connection."""
        self._connection = connection
        self._reopenings = 0
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel with all that is out on it: the broker hands it out again."""
        self._connection = None
        if self._channel is not None:
            self._channel.abandon(reason)

    def stop(self) -> None:
        """Take no more, and give back what has not begun."""
        self._stopping = True
        if self._channel is not None and self._channel.is_open and self._consumer_tag is not None:
            self._channel.raw.basic_cancel(self._consumer_tag)
        self._running -= self._workers.drop()

    def close(self, timeout: float) -> None:
        """End the workers and their connections, within `timeout` seconds; after the link has ended."""
        self._workers.end(timeout)

    # --- the channel

    def _open(self) -> None:
        if self._connection is None or self._stopping or self._channel is not None:
            return
        if not self._connection.is_open:
            return
        self._channel = ConfirmChannel(self._link, self._connection, opened=self._verify, closed=self._closed)

    def _verify(self, channel: ConfirmChannel) -> None:
        """Ask for everything that settling needs, as a publish to what is missing closes the channel."""
        for needed in essentials(self.queue.name):
            if isinstance(needed, Exchange):
                channel.raw.exchange_declare(needed.name, passive=True, callback=_ignore)
            else:
                channel.raw.queue_declare(needed.name, passive=True, callback=_ignore)
        channel.raw.basic_qos(prefetch_count=self.prefetch, callback=lambda _: self._consume(channel))

    def _consume(self, channel: ConfirmChannel) -> None:
        if channel is not self._channel or self._stopping:
            return
        self._acks = Acks()
        channel.raw.add_on_cancel_callback(lambda _: channel.close("cancelled by the broker"))
        self._consumer_tag = channel.raw.basic_consume(
            self.queue.name,
            on_message_callback=lambda _, method, properties, body: self._received(
                channel, method, properties, body
            ),
            callback=lambda _: self._consuming(),
        )

    def _consuming(self) -> None:
        log.info(
            "consuming from %s (prefetch %d, concurrency %d)",
            self.queue.name,
            self.prefetch,
            self.queue.concurrency,
        )
        self._ever_consumed = True
        self._reopenings = 0

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        self._consumer_tag = None
        self._running -= self._workers.drop()
        if self._stopping or self._connection is None or not self._connection.is_open:
            return
        if code == _NOT_FOUND:
            log.error("%s is not declared (%s): run 'taskqueue declare'", self.queue.name, reason)
            if not self._ever_consumed:
                self._owner.missing(self.queue.name, reason)
        else:
            log.warning(
                "the channel of %s was closed (%s %s): opening it again", self.queue.name, code or "", reason
            )
        delay = min(_LONGEST_REOPEN, _REOPEN * 2 ** min(self._reopenings, 8)) * random.uniform(0.5, 1)
        self._reopenings += 1
        self._link.later(delay, self._open)

    # --- from a delivery to a decision

    def _received(self, channel: ConfirmChannel, method: Any, properties: Any, body: bytes) -> None:
        self._acks.delivered(method.delivery_tag)
        message = _with_id(to_message(properties, body))
        delivery = Delivery(channel, method.delivery_tag, message)
        if self._stopping:
            return
        now = time.time()
        try:
            task = decode(message, now=now)
            deliveries = _deliveries(message)
            decision = on_receipt(task, self.queue, self._known, deliveries=deliveries, now=now)
        except InvalidTask as error:
            self._settle(delivery, None, Dead(INVALID, str(error), 0))
            return
        except Exception as error:
            # Nothing that a message contains may stop a consumer, not even by a fault of ours.
            log.exception("could not read a message of %s", self.queue.name)
            self._settle(delivery, None, Dead(INVALID, f"body: could not be read: {type(error).__name__}", 0))
            return
        if task.unknown:
            self._tell_once(
                f"fields that taskqueue does not know are ignored: {', '.join(task.unknown)[:200]}"
            )
        if isinstance(decision, Run):
            self._dispatch(Attempt(delivery, task), now)
        else:
            self._settle(delivery, task, decision)

    def _dispatch(self, attempt: Attempt, now: float) -> None:
        if self._pace is None:
            self._submit(attempt)
            return
        task = attempt.task
        hold = self._pace.hold(now, has_slot=task.has_slot)
        if hold is None:
            due = int(self._pace.slot(now) * 1000)
            self._settle(attempt.delivery, task, Again(due, task.runs, task.error, has_slot=True))
        elif hold == 0:
            self._submit(attempt)
        else:
            self._link.later(hold, lambda: self._submit(attempt))

    def _submit(self, attempt: Attempt) -> None:
        if self._stopping or attempt.delivery.channel is not self._channel:
            return
        self._running += 1
        self._metrics.started(self.queue.name, max(0.0, time.time() - attempt.task.due / 1000))
        self._workers.submit(attempt)

    def _finished(self, attempt: Attempt, result: Result) -> None:
        """Bring a result to the I/O thread; called by the workers."""
        self._results.append((attempt, result))
        if not self._draining:
            self._draining = True
            self._link.call(self._drain)

    def _drain(self) -> None:
        self._draining = False
        for _ in range(len(self._results)):
            attempt, result = self._results.popleft()
            self._running -= 1
            self._judge(attempt, result)
        self._flush()
        if self._stopping:
            self._owner.progressed()

    def _judge(self, attempt: Attempt, result: Result) -> None:
        now, spread = time.time(), random.uniform(-1, 1)
        decision = on_result(attempt.task, result, self.queue, now=now, spread=spread)
        self._metrics.finished(self.queue.name, _outcome(decision), result.seconds)
        if result.status in _ANY_SUCCESS and not isinstance(decision, Done):
            self._tell_once(
                f"status {result.status} counts as a failure: see success_status of [{self.queue.name}]"
            )
        if attempt.delivery.channel is not self._channel:
            log.warning(
                "%s %s: its channel was closed meanwhile, so it will run again",
                self.queue.name,
                attempt.task.id,
            )
            return
        _log_result(self.queue.name, attempt.task, decision, result)
        self._settle(attempt.delivery, attempt.task, decision)

    # --- from a decision to an ack

    def _settle(self, delivery: Delivery, task: Task | None, decision: Done | Again | Dead | Move) -> None:
        if isinstance(decision, Done):
            self._ack(delivery)
            return
        try:
            publishes = successors(
                delivery.message, task, decision, queue=self.queue.name, ladder=self._ladder, now=time.time()
            )
        except Exception as error:
            if task is None:
                raise
            log.exception("could not settle a task of %s", self.queue.name)
            self._settle(
                delivery, None, Dead(INVALID, f"could not be settled: {type(error).__name__}", task.runs)
            )
            return
        if isinstance(decision, Dead):
            name = task.id if task else delivery.message.properties.get("message_id")
            log.error("%s %s: dead, %s: %s", self.queue.name, name, decision.reason, decision.error)
            self._metrics.died(self.queue.name, decision.reason)
        self._settling += 1
        Settlement(
            self,
            name=self.queue.name,
            link=self._link,
            delivery=delivery,
            task=task,
            decision=decision,
            publishes=publishes,
        ).start()

    def settled(self, delivery: Delivery) -> None:
        """Ack a delivery all of whose successors are confirmed."""
        self._settling -= 1
        self._ack(delivery)
        if self._stopping:
            self._owner.progressed()

    def lost(self) -> None:
        """Leave a delivery alone: its channel is gone, and the broker hands it out again."""
        self._settling -= 1
        if self._stopping:
            self._owner.progressed()

    def instead(self, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """Settle a delivery in another way than was tried."""
        self._settling -= 1
        self._settle(delivery, task, decision)

    def _ack(self, delivery: Delivery) -> None:
        if delivery.channel is not self._channel:
            return
        self._acks.settle(delivery.tag)
        if not self._flushing:
            self._flushing = True
            self._link.call(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._channel is None or not self._channel.is_open:
            return
        for ack in self._acks.flush():
            self._channel.raw.basic_ack(ack.tag, multiple=ack.multiple)

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(text)
            log.warning("%s: %s", self.queue.name, text)


def _ignore(_frame: Any) -> None:
    """Take an answer that says nothing: what is missing closes the channel instead."""


def _with_id(message: Message) -> Message:
    if message.properties.get("message_id"):
        return message
    properties = {**message.properties, "message_id": uuid.uuid4().hex}
    return Message(message.body, message.headers, properties, message.fault)


def _deliveries(message: Message) -> int:
    count = message.headers.get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0


def _outcome(decision: Done | Again | Dead) -> str:
    match decision:
        case Done():
            return "done"
        case Again():
            return "retried"
        case Dead(reason):
            return f"dead_{reason}"


def _log_result(queue: str, task: Task, decision: Done | Again | Dead, result: Result) -> None:
    if isinstance(decision, Done):
        log.debug("%s %s: done in %.0f ms, attempt %d", queue, task.id, result.seconds * 1000, task.runs + 1)
    elif isinstance(decision, Again):
        log.info(
            "%s %s: attempt %d failed (%s), again in %.1f s",
            queue, task.id, task.runs + 1, decision.error, decision.due / 1000 - time.time(),
        )  # fmt: skip
