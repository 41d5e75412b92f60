"""What systemd is told (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html)."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

from taskqueue.consume.health import Board

_MOST_REASONS = 3


class Systemd:
    """Tells systemd how it stands: ready, the watchdog, the status line, stopping. Call `look` once a second.

    Ready is who has begun, connected or not: a broker that is away is no reason to start us again.
    """

    def __init__(self, address: str, board: Board, *, watchdog: bool) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._board = board
        self._watchdog = watchdog
        self._said: set[str] = set()
        self._status = ""

    def look(self) -> None:
        """Say what is new, and feed the watchdog as long as every I/O thread ticks."""
        lines = []
        if self._board.started:
            lines += self._once("READY=1")
        if self._board.stopping:
            lines += self._once("STOPPING=1")
        if self._watchdog and not self._board.faults():
            lines.append("WATCHDOG=1")
        if (status := self._now()) != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if lines:
            self._send("\n".join(lines))

    def _now(self) -> str:
        if self._board.stopping:
            return f"stopping, {self._board.running} tasks still run"
        reasons = self._board.reasons()
        if len(reasons) > _MOST_REASONS:
            reasons[_MOST_REASONS:] = [f"and {len(reasons) - _MOST_REASONS} more"]
        # The number of what runs changes all the time, and is in the metrics.
        return "; ".join(reasons) or "connected, every queue is consumed"

    def _once(self, line: str) -> list[str]:
        new = line not in self._said
        self._said.add(line)
        return [line] if new else []

    def _send(self, text: str) -> None:
        # Whoever does not read must not hold up who tells: this may be the I/O thread.
        with (
            suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)


def asked_for(board: Board, environ: MutableMapping[str, str] = os.environ) -> Systemd | None:
    """Give what tells systemd, None where it has not asked; takes its variables away from our children."""
    address = environ.pop("NOTIFY_SOCKET", None)
    interval, meant = environ.pop("WATCHDOG_USEC", None), environ.pop("WATCHDOG_PID", None)
    if not address:
        return None
    return Systemd(address, board, watchdog=bool(interval) and meant in {None, str(os.getpid())})
