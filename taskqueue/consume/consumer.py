"""A consumer: one link to the broker, one subscription for each queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container, Sequence
from functools import partial

from pika.connection import Parameters

from taskqueue.broker.link import Link
from taskqueue.broker.replies import TOO_MANY_CHANNELS
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.health import TICK, Report
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.ladder_check import LadderCheck
from taskqueue.consume.metrics import Metrics
from taskqueue.consume.pauses import Pauses
from taskqueue.consume.probes import Probes
from taskqueue.consume.rate import Pace
from taskqueue.consume.room import TAKEN
from taskqueue.consume.stop import Stop
from taskqueue.consume.subscription import Subscription
from taskqueue.consume.timekeeper import Timekeeper
from taskqueue.consume.workers import Attempt, Pool, Workers
from taskqueue.durations import duration
from taskqueue.errors import BrokerRefused, NotDeclared, TaskqueueError
from taskqueue.events import Event, Events
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings, Settings
from taskqueue.task.result import Result
from taskqueue.topology.plan import CLASSIC, Exchange, Queue, ladder_essentials

log = logging.getLogger(__name__)

GRACE = 65.0
"""Seconds that requests get to finish when a consumer stops: a little more than the default timeout."""
_GOODBYE = 5.0
_OTHER_CHANNELS = 3
"""What settles the deliveries of all, what tries an exchange, and what looks at the ladders."""
_BESIDE = 3
"""Channels on the connection by which pauses are seen, and ladders probed."""


class Consumer:
    """Runs the due tasks of every queue of the settings until it is stopped.

    It holds no task that is not due, and can't lose a task: the broker takes back what is not acked.
    `known` names the queues that a task may be moved to, where those are more than it consumes. `watch` is
    told once a second how it stands. `listeners` are told of every event, on the I/O thread.
    """

    def __init__(
        self,
        settings: Settings,
        hosts: Sequence[Parameters],
        metrics: Metrics,
        *,
        known: Container[str] | None = None,
        watch: Callable[[Report], None] | None = None,
        listeners: Sequence[Callable[[Event], None]] = (),
    ) -> None:
        known = settings.queues if known is None else known
        self._link = Link(hosts, self, name="taskqueue-io")
        self._metrics = metrics
        self._watch = watch
        self._connected = False
        isolation = Isolation()
        self._pool = Pool()
        self._subscriptions = [
            Subscription(
                queue,
                way=settings.way(queue.name),
                known=known,
                link=self._link,
                owner=self,
                events=Events(*metrics.listeners, *listeners, log_success=queue.log_success),
                isolation=isolation,
                pace=Pace(queue.rate.per_second, counted=False) if queue.rate else None,
                make_line=self._make_line,
            )
            for queue in settings.queues.values()
        ]
        self._limited = sum(each.limited for each in self._subscriptions)
        self._timekeepers = [
            Timekeeper(
                settings.way(queue),
                forgetful=settings.queue_type == CLASSIC,
                link=self._link,
                owner=self,
                metrics=metrics,
                clock=time.time,
            )
            for queue in sorted(settings.scheduled)
        ]
        self._parts: tuple[Subscription | Timekeeper, ...] = (*self._subscriptions, *self._timekeepers)
        self._ladders = _ladders(settings)
        self._by_name = {subscription.queue.name: subscription for subscription in self._subscriptions}
        ladders = {name: queue.ladder for name, queue in settings.queues.items()}
        self._probes = None
        if settings.probe:
            self._probes = Probes(
                tuple(dict.fromkeys(ladders.values())),
                settings.rungs,
                link=self._link,
                probed=metrics.probed,
                clock=time.time,
            )
            for ladder in dict.fromkeys(ladders.values()):
                metrics.probing(ladder)
        for schedule in settings.schedules.values():
            if schedule.queue in settings.queues:
                metrics.scheduled(schedule.queue, schedule.name)
        beside = None if self._probes is None else self._probes.connected
        self._pauses = Pauses(ladders, self._link, changed=self._paused, beside=beside)
        self._stop = Stop()
        self._idle = threading.Event()
        self._failure: TaskqueueError | None = None

    def _make_line(self, queue: QueueSettings, finished: Callable[[Attempt, Result], None]) -> Workers:
        return Workers(Executor(queue), queue.name, queue.concurrency, finished, self._pool)

    def run(self, *, grace: float = GRACE) -> None:
        """Consume until `stop`, then let what runs finish within `grace` seconds.

        Raises NotDeclared where a queue was not declared when the consumer first looked, BrokerRefused where
        the user may not settle its tasks.
        """
        self._link.start()
        if self._watch is not None:
            self._link.call(partial(self._tick, self._watch))
        self._stop.wait()
        self._link.call(lambda: self._stop_subscriptions(grace))
        if not self._idle.wait(min(grace, threading.TIMEOUT_MAX)):
            running = sum(subscription.attempts.running for subscription in self._subscriptions)
            log.warning(
                "not everything ended in %s, %d tasks still run: the broker hands the rest out again",
                duration(grace),
                running,
            )
        for subscription in self._subscriptions:
            subscription.tell()
        self._link.call(self._pauses.disconnected)
        # A broker with an alarm reads no goodbye; the last acks still get on their way.
        self._link.close(TAKEN if self._link.blocked else _GOODBYE)
        self._pool.end(_GOODBYE if self._idle.is_set() else 0.0)
        for subscription in self._subscriptions:
            subscription.close()
        if self._failure is not None:
            raise self._failure
        log.info("stopped")

    def stop(self) -> None:
        """Ask `run` to end; may be called from any thread and from a signal handler."""
        self._stop.ask()

    def connected(self, connection: TolerantConnection) -> None:
        """Give every subscription its channel; the first time only after every ladder was found declared."""
        self._connected = True
        if self._ladders:
            LadderCheck(self._link, connection, self._ladders, found=self._found, missing=self._no_ladder)
        else:
            self._open(connection)

    def _found(self, connection: TolerantConnection) -> None:
        self._ladders = ()
        self._open(connection)

    def _no_ladder(self, reason: str) -> None:
        self._fail(
            NotDeclared(
                f"the ladder of this configuration is not declared ({reason}): run 'taskqueue declare', or "
                "set resolution, levels, ladder and queue_type as they were declared"
            )
        )

    def _open(self, connection: TolerantConnection) -> None:
        if not connection.is_open:
            return
        self._link.outbox.connected(connection)
        for subscription in self._subscriptions:
            # It may have been paused while this consumer was cut off.
            subscription.pause(told=False)
        self._pauses.connected(connection)
        others = _OTHER_CHANNELS + len(self._timekeepers) + self._limited
        room = max(0, connection.params.channel_max - others)
        for subscription in self._subscriptions[:room]:
            subscription.connected(connection)
        for timekeeper in self._timekeepers[: max(0, connection.params.channel_max - _OTHER_CHANNELS)]:
            timekeeper.connected(connection)
        if room < len(self._subscriptions):
            log.error(
                "the broker allows %d channels a connection (channel_max), %d are needed: queue %r and all "
                "behind it are not consumed; raise it, or run some queues in another process (--queue)",
                connection.params.channel_max,
                len(self._subscriptions) + others,
                self._subscriptions[room].queue.name,
            )

    def disconnected(self, reason: str) -> None:
        """Tell every subscription that its channel is gone."""
        self._connected = False
        self._metrics.reconnecting()
        self._pauses.disconnected()
        if TOO_MANY_CHANNELS in reason:
            log.error(
                "the broker refuses the channels of %d queues, which take %d: raise the limit (rabbitmqctl "
                "set_user_limits), or run some queues as another user (--queue)",
                len(self._subscriptions),
                len(self._parts) + self._limited + _OTHER_CHANNELS + _BESIDE,
            )
        for each in self._parts:
            each.disconnected(reason)

    def unreachable(self, reason: str) -> None:
        """Do nothing: the link has logged the failure, and tries again for ever."""

    def alarmed(self, *, now: bool) -> None:
        """Tell every subscription."""
        for subscription in self._subscriptions:
            subscription.alarmed(now=now)

    def missing(self, queue: str, reason: str) -> None:
        """Come to an end: what was not declared will not appear by itself."""
        self._fail(
            NotDeclared(
                f"queue {queue!r} is not declared ({reason}): run 'taskqueue declare', "
                "or 'taskqueue run --declare'"
            )
        )

    def refused(self, reason: str) -> None:
        """Come to an end: what the user may not do is for somebody to mend."""
        self._fail(BrokerRefused(reason))

    def _fail(self, failure: TaskqueueError) -> None:
        if self._failure is None:
            self._failure = failure
        self._stop.ask()

    def _paused(self, queue: str, now: bool | None) -> None:  # noqa: FBT001 as told by `Pauses`
        if now is False:
            self._by_name[queue].unpause()
        else:
            self._by_name[queue].pause(told=now is not None)

    def progressed(self) -> None:
        """Note whether everything has been settled."""
        if self._stop.asked and all(each.idle for each in self._parts):
            # After the acks, which go out with the calls that are made already.
            self._link.call(self._end)

    def _end(self) -> None:
        if any(subscription.just_acked for subscription in self._subscriptions):
            self._link.later(TAKEN, self._idle.set)
        else:
            self._idle.set()

    def _tick(self, watch: Callable[[Report], None]) -> None:
        """Tell how it stands: on the I/O thread, as that proves that the thread is alive."""
        self._link.later(TICK, partial(self._tick, watch))
        queues = {each.queue.name: each.report() for each in self._subscriptions}
        watch(Report(self._connected, self._link.blocked, self._stop.asked, queues))

    def _stop_subscriptions(self, grace: float) -> None:
        for each in self._parts:
            each.stop()
        if self._probes is not None:
            self._probes.stop()
        log.info("stopping: finishing what runs (up to %s)", duration(grace))
        self.progressed()


def _ladders(settings: Settings) -> tuple[Exchange | Queue, ...]:
    names = dict.fromkeys(queue.ladder for queue in settings.queues.values())
    return tuple(
        item for name in names for item in ladder_essentials(name, settings.rungs, settings.queue_type)
    )
