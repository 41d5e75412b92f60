"""A cap on the requests that one host gets at a time (`per_host`).

One host holds at most twice the cap of a queue's threads. Half of them run, and half wait for a moment, so
that a place does not stay empty. Any other task for the host gets a time to come back and waits in the
broker. So a slow host never holds up the tasks for others.
"""

from __future__ import annotations

import threading
from time import monotonic

LONGEST_WAIT = 0.5
"""Seconds that a thread waits for a place."""
SHORTEST_AWAY, LONGEST_AWAY = 1.0, 60.0
"""Seconds (least, most) after which a task that found no place comes back."""
_MOST_HOSTS = 1000
_NEWEST = 0.2
"""The weight of the last request in the average of its host."""


class _Host:
    __slots__ = ("freed", "line", "running", "seconds", "waiting")

    def __init__(self, lock: threading.Lock) -> None:
        self.freed = threading.Condition(lock)
        self.running = 0
        self.waiting = 0
        self.seconds = 0.0
        """The average length of a request, in seconds."""
        self.line = 0.0
        """When the next task that finds no place may come back (monotonic)."""


class Crowd:
    """The places for requests at each host of one queue, in one process."""

    def __init__(self, limit: int, wait: float = LONGEST_WAIT) -> None:
        self._limit = limit
        self._wait = wait
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    def enter(self, name: str) -> float | None:
        """Take a place and return None; without a free place, return the seconds until one may be free.

        `leave` gives the place back.
        """
        with self._lock:
            host = self._hosts.get(name)
            if host is None:
                self._forget()
                host = self._hosts[name] = _Host(self._lock)
            if host.running >= self._limit and not self._await(host):
                return self._away(host)
            host.running += 1
            return None

    def leave(self, name: str, seconds: float) -> None:
        """Give a place back, after a request of so many seconds."""
        with self._lock:
            host = self._hosts[name]
            host.running -= 1
            host.seconds += (seconds - host.seconds) * _NEWEST
            host.freed.notify()

    def _await(self, host: _Host) -> bool:
        if host.waiting >= self._limit:
            return False
        host.waiting += 1
        try:
            return host.freed.wait_for(lambda: host.running < self._limit, self._wait)
        finally:
            host.waiting -= 1

    def _away(self, host: _Host) -> float:
        """Reserve a turn: tasks come back at the rate at which the host answers."""
        now = monotonic()
        turn = min(max(host.line, now + SHORTEST_AWAY), now + LONGEST_AWAY)
        host.line = turn + host.seconds / self._limit
        return turn - now

    def _forget(self) -> None:
        if len(self._hosts) < _MOST_HOSTS:
            return
        now = monotonic()
        self._hosts = {
            name: host
            for name, host in self._hosts.items()
            if host.running or host.waiting or host.line > now
        }
