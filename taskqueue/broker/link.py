"""The I/O thread: it owns the connection, and makes a new one for ever when it is lost."""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from pika.adapters.select_connection import IOLoop
from pika.connection import Parameters
from pika.exceptions import AMQPError

from taskqueue.broker.connect import reason, refusal, where
from taskqueue.broker.outbox import Outbox
from taskqueue.broker.pika_log import IoThread, hush
from taskqueue.broker.wire import TolerantConnection
from taskqueue.durations import duration
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_FIRST_DELAY = 0.2
_LONGEST_DELAY = 10.0
_REMINDER = 60.0
"""Seconds between two lines that say that the broker still has an alarm."""
_HEALTHY = 5.0
"""Seconds that a connection has to last until the next one is made soon: the broker may end each at once."""


class User(Protocol):
    """What a link serves. All are called on the I/O thread."""

    def connected(self, connection: TolerantConnection) -> None:
        """Open channels on a fresh connection."""

    def disconnected(self, reason: str) -> None:
        """Forget the channels: the connection is gone, and another one is being made."""

    def unreachable(self, reason: str) -> None:
        """Learn that an attempt to connect has failed; the next one comes by itself."""

    def alarmed(self, *, now: bool) -> None:
        """Learn that the broker takes no publishes over this connection, or takes them again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Timer:
    """A call that is to be made at a time (monotonic)."""

    due: float
    function: Callable[[], None]


class Link:
    """A thread with an event loop, and in it one connection to one of several hosts."""

    monotonic = staticmethod(time.monotonic)
    """The clock of its timers, in seconds."""

    def __init__(self, hosts: Sequence[Parameters], user: User, *, name: str) -> None:
        self.blocked = False
        """The broker has raised a memory or disk alarm and takes no publishes."""
        self.alarm = ""
        """What it says of it, ``low on disk``, as long as it is blocked."""
        self.outbox = Outbox(self)
        """What deliveries are settled by; it has a channel once its `connected` was called."""
        self._hosts = hosts
        self._user = user
        self._name = name
        self._attempts = 0
        # Each host before the wait grows, and not all consumers of a broker at once.
        self._backoff = Backoff(_FIRST_DELAY, _LONGEST_DELAY, jitter=0.5, tries=len(hosts))
        self._closing = False
        self._ended = False
        self._connection: TolerantConnection | None = None
        self._dropped: list[TolerantConnection] = []
        """Other connections that may still be open."""
        self._opened = 0.0
        self._calls: deque[Callable[[], None]] = deque()
        self._timers: set[_Timer] = set()
        self._woken = False
        self._loop = IOLoop()
        self._thread = IoThread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, and in it the first attempt to connect."""
        hush()
        self.call(self._connect)
        self._thread.start()

    def call(self, function: Callable[[], None]) -> None:
        """Run a function on the I/O thread, soon; from any thread. Many calls cost one wake-up."""
        self._calls.append(function)
        if not self._woken and not self._ended:
            self._woken = True
            self._loop.add_callback_threadsafe(self._run_calls)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Run a function on the I/O thread after some seconds; from the I/O thread only."""
        timer = _Timer(time.monotonic() + seconds, function)
        self._timers.add(timer)
        self._schedule(timer)

    def close(self, timeout: float) -> bool:
        """Close the connection and end the thread; False if it did not end in `timeout` seconds."""
        self.call(lambda: self._close(timeout))
        self._thread.join(timeout + 1)
        return not self._thread.is_alive()

    def drop(self, connection: TolerantConnection) -> None:
        """Close another connection that was opened on the loop of this thread; from the I/O thread only."""
        self._dropped = [each for each in self._dropped if not each.is_closed] + [connection]
        if connection.ioloop is not self._loop:
            # Its loop has gone down with a fault, and can't write a goodbye.
            _cut(connection)
        elif connection.is_open:
            with suppress(AMQPError):
                connection.close()

    @property
    def alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                self._loop.start()
            except Exception:
                # A fault of ours must not end a consumer: a fresh connection gets everything back.
                log.exception("unexpected error on the I/O thread: giving up its connection")
                if not self._closing:
                    self._start_over()
                    continue
                if self._connection is not None:
                    _cut(self._connection)
            self._ended = True
            for dropped in self._dropped:
                # Nobody hears the broker's goodbye any more.
                _cut(dropped)
            self._loop.close()
            return

    def _start_over(self) -> None:
        connection, self._connection = self._connection, None
        self._loop.close()
        self._loop = IOLoop()
        self._woken = False
        if connection is not None:
            _cut(connection)
            self.call(lambda: self._user.disconnected("unexpected error on the I/O thread"))
            self.call(lambda: self.outbox.disconnected("unexpected error on the I/O thread"))
        # What waits for a time waits on, or nobody would ever take it up again.
        for timer in tuple(self._timers):
            self._schedule(timer)
        # Not at once: what has failed may fail every time.
        self.later(self._backoff.next(), self._connect)

    def _schedule(self, timer: _Timer) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            timer.function()

        self._loop.call_later(max(0.0, timer.due - time.monotonic()), fire)

    def _run_calls(self) -> None:
        self._woken = False
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _connect(self) -> None:
        if self._closing or self._connection is not None:
            return
        parameters = self._hosts[self._attempts % len(self._hosts)]
        self._attempts += 1
        self._connection = TolerantConnection(
            parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_open_error,
            on_close_callback=self._on_close,
            custom_ioloop=self._loop,
        )

    def _on_open(self, connection: TolerantConnection) -> None:
        log.info("connected to %s", where(connection.params))
        self._opened = time.monotonic()
        self.blocked = False
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._user.connected(connection)

    def _on_open_error(self, connection: TolerantConnection, error: BaseException) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        if self._closing:
            self._loop.stop()
            return
        delay = self._backoff.next()
        if refused := refusal(error, connection.params):
            self._user.unreachable(str(refused))
            # It may be mended at the broker, so it is tried again; but not by waiting.
            log.error("%s; next try in %.1f s", refused, delay)
        else:
            why = f"{where(connection.params)}: {reason(error)}"
            self._user.unreachable(why)
            log.warning("can't connect to %s: next try in %.1f s", why, delay)
        self.later(delay, self._connect)

    def _on_close(self, connection: TolerantConnection, error: BaseException) -> None:
        if connection is not self._connection:
            return
        self._connection = None
        self.blocked = False
        self._user.disconnected(reason(error))
        self.outbox.disconnected(reason(error))
        if self._closing:
            self._loop.stop()
            return
        if time.monotonic() - self._opened >= _HEALTHY:
            self._backoff.reset()
        delay = self._backoff.next()
        log.warning("connection lost (%s): next try in %.1f s", reason(error), delay)
        self.later(delay, self._connect)

    def _on_blocked(self, _connection: Any, frame: Any) -> None:
        self.blocked, self.alarm = True, frame.method.reason
        self._user.alarmed(now=True)
        why, since, connection = frame.method.reason, time.monotonic(), self._connection
        log.warning(
            "the broker takes no publishes (%s): nothing is lost, but what is to follow from tasks is held, "
            "retries, dead tasks and roll_backs, until its alarm is over (rabbitmq-diagnostics alarms)",
            why,
        )

        def remind() -> None:
            if self.blocked and self._connection is connection:
                log.warning(
                    "the broker still takes no publishes (%s), for %s now",
                    why,
                    duration(time.monotonic() - since),
                )
                self.later(_REMINDER, remind)

        self.later(_REMINDER, remind)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        self.blocked = False
        self._user.alarmed(now=False)
        log.info("the broker takes publishes again: what was held goes out")

    def _close(self, timeout: float) -> None:
        if self._closing:
            return
        self._closing = True
        connection = self._connection
        if connection is None or connection.is_closed:
            self._loop.stop()
            return
        # pika ends a handshake that it is told to give up with an error of its own.
        if not connection.is_open and _cut(connection):
            self._loop.stop()
            return
        # A blocked broker does not read, so it would not answer a close either.
        self.later(timeout, lambda: self._give_up(connection))
        if not connection.is_closing:
            connection.close()

    def _give_up(self, connection: TolerantConnection) -> None:
        _cut(connection)
        self._loop.stop()


def _cut(connection: TolerantConnection) -> bool:
    """Drop the socket without a word, so that the broker takes back what is not acked; False without one.

    pika's own abort closes it by a call on the event loop, which does not run any more.
    """
    # While it connects, nobody but the step that pika's connector waits for has the socket.
    connector = getattr(getattr(connection, "_connection_workflow", None), "_connector", None)
    step = getattr(getattr(getattr(connector, "_task_ref", None), "_cancel", None), "__self__", None)
    holders = (getattr(connection, "_transport", None), step)
    sock = next((sock for holder in holders if (sock := getattr(holder, "_sock", None)) is not None), None)
    if sock is None:
        return False
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
    return True
