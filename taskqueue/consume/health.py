"""Whether the consumers of a `taskqueue run` are alive and ready, by what each says of itself once a second.

Alive says that the I/O threads tick, whatever the broker does: a restart mends a thread that hangs, and no
broker. Ready says that each is connected, and consumes each of its queues.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

TICK = 1.0
"""Seconds from one report of a consumer to the next."""
STALE = 15.0
"""Seconds without a report after which an I/O thread counts as hanging."""
_STARTING = 90.0
"""Seconds that a process gets until its first report."""
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class QueueReport:
    """What a consumer says of one queue."""

    consumed: bool
    running: int = 0
    settling: int = 0
    """Tasks that wait until the broker has what follows from them."""
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a consumer says of itself."""

    connected: bool
    blocked: bool
    """The broker takes no publishes."""
    stopping: bool
    queues: Mapping[str, QueueReport]


@dataclass(frozen=True, slots=True)
class Pulse:
    """What of a report others have to know; it comes from the I/O thread, and so proves that it ticks."""

    reasons: tuple[str, ...] = ()
    """Why the consumer is not ready."""
    paused: tuple[str, ...] = ()
    stopping: bool = False
    running: int = 0

    @classmethod
    def of(cls, report: Report) -> Pulse:
        """Sum a report up; of many queues some are named."""
        paused = [name for name, queue in report.queues.items() if queue.paused]
        missing = [name for name, queue in report.queues.items() if not (queue.consumed or queue.paused)]
        if report.stopping:
            reasons = ["stopping"]
        elif not report.connected:
            reasons = ["not connected to the broker"]
        else:
            reasons = [f"queue {name} is not consumed" for name in missing[:_MOST_NAMED]]
            if len(missing) > _MOST_NAMED:
                reasons.append(f"{len(missing) - _MOST_NAMED} more queues are not consumed")
        running = sum(queue.running for queue in report.queues.values())
        return cls(tuple(reasons), tuple(paused[:_MOST_NAMED]), report.stopping, running)


@dataclass(slots=True)
class _Process:
    since: float
    """When it was started, or gave its last pulse."""
    alive: bool = True
    pulse: Pulse | None = field(default=None)


class Board:
    """Holds the last pulse of each of `count` processes; for any thread."""

    def __init__(self, count: int = 1, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._stopping = False
        self._processes = {number: _Process(clock()) for number in range(1, count + 1)}

    def began(self, number: int) -> None:
        """Note that a process was started."""
        with self._lock:
            self._processes[number] = _Process(self._clock())

    def ended(self, number: int) -> None:
        """Note that a process is gone; its supervisor starts another one."""
        with self._lock:
            self._processes[number].alive = False

    def stop(self) -> None:
        """Note that all are asked to end."""
        self._stopping = True

    def take(self, number: int, pulse: Pulse) -> None:
        """Take the pulse of a process."""
        with self._lock:
            process = self._processes[number]
            process.since, process.pulse = self._clock(), pulse

    @property
    def stopping(self) -> bool:
        """Tell whether all are asked to end."""
        pulses = self._pulses()
        return self._stopping or (bool(pulses) and all(pulse.stopping for pulse in pulses))

    @property
    def started(self) -> bool:
        """Tell whether every process has begun its work."""
        with self._lock:
            return all(process.pulse is not None for process in self._processes.values())

    @property
    def running(self) -> int:
        """Count the tasks at or before a worker."""
        return sum(pulse.running for pulse in self._pulses())

    def faults(self) -> list[str]:
        """Say which process does not live, and why that is known; nothing where all do."""
        with self._lock:
            return [
                self._named(number, fault)
                for number, process in self._processes.items()
                if (fault := self._fault(process))
            ]

    def reasons(self) -> list[str]:
        """Say what is not ready, and why; nothing where all is."""
        with self._lock:
            return [
                self._named(number, reason)
                for number, process in self._processes.items()
                for reason in self._unready(process)
            ]

    def paused(self) -> list[str]:
        """Name the queues that are paused."""
        return sorted({name for pulse in self._pulses() for name in pulse.paused})

    def _pulses(self) -> list[Pulse]:
        with self._lock:
            return [each.pulse for each in self._processes.values() if each.alive and each.pulse is not None]

    def _fault(self, process: _Process) -> str:
        silent = self._clock() - process.since
        if not process.alive or silent <= (_STARTING if process.pulse is None else STALE):
            return ""
        if process.pulse is None:
            return f"does not begin: started {silent:.0f} s ago"
        return f"its I/O thread has not ticked for {silent:.0f} s"

    def _unready(self, process: _Process) -> tuple[str, ...]:
        if fault := self._fault(process):
            return (fault,)
        if not process.alive:
            return ("has ended, and is started again",)
        return ("is starting",) if process.pulse is None else process.pulse.reasons

    def _named(self, number: int, what: str) -> str:
        return what if len(self._processes) == 1 else f"process {number}: {what}"
