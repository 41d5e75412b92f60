"""The parent of several consumers: it starts them, restarts what dies, and passes signals on."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskqueue.consume.watch import Shown
from taskqueue.durations import duration
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

PROCESS = "TASKQUEUE_PROCESS"
"""The environment variable that tells a child which one it is: ``2/4``."""
PATIENCE = 1.0
"""Seconds after a signal to stop in which another says the same: terminals and supervisors each send one."""
_FIRST_DELAY = 1.0
_LONGEST_DELAY = 30.0
_HEALTHY = 30.0
"""A consumer that has lived so many seconds is started again at once."""
GAVE_UP = 100
"""A child adds this to the exit code of our own errors, as Python ends with 1 after any fault."""
_FINAL = {GAVE_UP + 1: 1, GAVE_UP + 2: 2}
"""Exit codes of a child that no restart mends (not declared, unusable ini), and the parent's for each."""


@dataclass(slots=True)
class _Child:
    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_DELAY, _LONGEST_DELAY))
    due: float = 0.0
    """When it is to be started again."""


class Supervisor:
    """Keeps `count` processes of `command` running until it is told to stop.

    Each child has a pipe on its standard input that ends when the parent does, however it ends:
    a child that watches it never outlives its parent by more than its grace. The signals that are
    `watched` must be blocked in every thread of the parent.
    """

    def __init__(
        self, command: Sequence[str], count: int, environment: Mapping[str, str], shown: Shown
    ) -> None:
        """Take the command of a child; `shown` is told of each that begins and ends."""
        self._command = list(command)
        self._shown = shown
        self._environment = {**environment, **shown.environment}
        self._children = [_Child(number) for number in range(count)]
        self._stopping = False
        self._asked: float | None = None
        """When the first signal to stop came (monotonic)."""
        self._result = 0
        self._watched = watched()

    def run(self) -> int:
        """Supervise until every child has ended, and give the exit code."""
        for child in self._children:
            self._start(child)
        while any(child.process for child in self._children) or not self._stopping:
            self._handle(signal.sigtimedwait(self._watched, self._patience()))
            self._reap()
            self._revive()
        return self._result

    def _handle(self, received: signal.struct_siginfo | None) -> None:
        if received is None or received.si_signo not in stops():
            return
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            if not self._stopping:
                log.info("stopping %d consumers", len(self._children))
                self._stop()
        elif now - self._asked >= PATIENCE:
            log.warning("another signal: ending at once")
            self._result = 128 + received.si_signo
            # Nothing is lost: the broker hands out again what is not acked.
            self._forward(signal.SIGKILL)

    def _stop(self) -> None:
        self._stopping = True
        self._shown.board.stop()
        self._forward(signal.SIGTERM)

    def _forward(self, number: signal.Signals) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.send_signal(number)

    def _patience(self) -> float:
        """Give the seconds until the next start; a signal ends the wait before."""
        waits = [child.due - time.monotonic() for child in self._children if child.process is None]
        return max(0.01, min(waits)) if waits and not self._stopping else 60.0

    def _start(self, child: _Child) -> None:
        environment = {**self._environment, PROCESS: f"{child.number + 1}/{len(self._children)}"}
        # A session of its own, so that Ctrl-C reaches only the parent, which passes it on once.
        child.process = subprocess.Popen(  # noqa: S603 our own command
            self._command,
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
            pass_fds=self._shown.descriptors,
        )
        child.started = time.monotonic()
        self._shown.board.began(child.number + 1)
        log.info("consumer %d started, pid %d", child.number + 1, child.process.pid)

    def _reap(self) -> None:
        for child in self._children:
            if child.process is None or (code := child.process.poll()) is None:
                continue
            if child.process.stdin is not None:
                child.process.stdin.close()
            self._shown.ended(child.process.pid)
            self._shown.board.ended(child.number + 1)
            child.process = None
            if not self._stopping:
                self._ended(child, code)
            elif code and not self._result:
                self._result = _FINAL.get(code) or (code if code > 0 else 128 - code)

    def _ended(self, child: _Child, code: int) -> None:
        if result := _FINAL.get(code):
            log.error("consumer %d gave up (exit code %d): stopping all", child.number + 1, result)
            self._result = result
            self._stop()
            return
        lived = time.monotonic() - child.started
        if lived > _HEALTHY:
            child.backoff.reset()
            delay = 0.0
        else:
            delay = child.backoff.next()
        child.due = time.monotonic() + delay
        log.error(
            "consumer %d died (%s) after %s: starting it again in %s",
            child.number + 1,
            _cause(code),
            duration(lived),
            duration(delay),
        )

    def _revive(self) -> None:
        if self._stopping:
            return
        for child in self._children:
            if child.process is None and child.due <= time.monotonic():
                self._start(child)


def stops() -> tuple[signal.Signals, ...]:
    """Name the signals that ask for a stop. SIGHUP is one, unless the process is to outlive its terminal."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def watched() -> frozenset[signal.Signals]:
    """Name the signals that a supervisor waits for."""
    return frozenset((*stops(), signal.SIGCHLD))


def place(process: str) -> int:
    """Read which one a process is: 2 from ``2/4``."""
    return int(process.partition("/")[0])


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
