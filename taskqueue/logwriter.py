"""Writes log lines to a file that may take them late or never, while nobody who logs waits."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
import time
from collections import deque

MOST_LINES = 10_000
MOST_BYTES = 4 * 2**20
_LINGER = 0.005
"""Seconds that the first line waits for others: to wake a thread for each costs more than to write it."""
_STUCK = 1.0
"""Seconds without a line written, after which a process that ends waits no longer."""
_LONGEST_END = 10.0


class BackgroundHandler(logging.Handler):
    """Has a thread of its own write to a file descriptor.

    A line that finds no room in the queue, or can't be written, is dropped and counted. When writing goes on,
    a warning with the count stands where the lines are missing.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self._lines: deque[tuple[bytes, int]] = deque()
        """Lines, each with the number of lines that it stands for (a warning stands for those dropped)."""
        self._size = 0
        self._dropped = 0
        self._failing = False
        self._written = 0
        self._ending = False
        self._waiting = False
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="taskqueue-log", daemon=True)
        # Other threads expect the signals.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._thread.start()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line in the queue, or count it as dropped."""
        try:
            line = self._encoded(record)
        except Exception:  # noqa: BLE001 whatever was to be logged, it must not stop who logs it
            line = self._encoded(_plain(record.levelno, f"could not be formatted: {record.msg!r:.500}"))
        with self._changed:
            if len(self._lines) >= MOST_LINES or self._size + len(line) > MOST_BYTES:
                self._dropped += 1
                return
            if self._dropped:
                self._append_note()
            self._append(line, 1)
            if self._waiting:
                self._changed.notify()

    def finish(self) -> bool:
        """Write what is left, as long as writing goes on; False where lines remain."""
        with self._changed:
            # After one wait in vain there is no second one.
            written = self._written if self._ending else -1
            self._ending = True
            self._over.set()
            self._changed.notify()
        end = time.monotonic() + _LONGEST_END
        while self._thread.is_alive() and written != self._written and time.monotonic() < end:
            written = self._written
            self._thread.join(_STUCK)
        return not self._thread.is_alive() and not self._dropped

    def close(self) -> None:
        """End as `finish` does. logging itself calls this at the end of the process."""
        self.finish()
        super().close()

    def _run(self) -> None:
        while self._wait():
            lines, count = self._take()
            try:
                self._write(lines)
            except OSError:
                with self._changed:
                    self._dropped += count
                    self._failing = True
            else:
                self._failing = False
            self._written += 1

    def _wait(self) -> bool:
        """Wait for lines; False at the end."""
        with self._changed:
            if self._lines:
                return True
            while not self._lines:
                if self._dropped and not self._failing:
                    self._append_note()
                elif self._ending:
                    return False
                else:
                    self._waiting = True
                    self._changed.wait()
                    self._waiting = False
        self._over.wait(_LINGER)
        return True

    def _take(self) -> tuple[bytes, int]:
        """Take as many lines as a pipe takes in one piece, and at least one, with the number of lines."""
        with self._changed:
            lines, count = self._lines.popleft()
            while self._lines and len(lines) + len(self._lines[0][0]) <= select.PIPE_BUF:
                more, its_count = self._lines.popleft()
                lines, count = lines + more, count + its_count
            self._size -= len(lines)
            return lines, count

    def _append_note(self) -> None:
        text = f"{self._dropped} log lines were dropped: they could not be written in time"
        line = self._encoded(_plain(logging.WARNING, text))
        count, self._dropped = self._dropped, 0
        self._append(line, count)

    def _append(self, line: bytes, count: int) -> None:
        self._lines.append((line, count))
        self._size += len(line)

    def _encoded(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")

    def _write(self, lines: bytes) -> None:
        # In one piece as far as it can be, so that processes that share a pipe do not mix their lines.
        while lines:
            try:
                lines = lines[os.write(self._descriptor, lines) :]
            except BlockingIOError:
                # Another process that shares the file has made it non-blocking.
                select.select((), (self._descriptor,), ())


def _plain(level: int, text: str) -> logging.LogRecord:
    return logging.LogRecord("taskqueue.logs", level, __file__, 0, text, None, None)
