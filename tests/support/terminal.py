"""A command on a terminal of its own: its size, its modes, what is typed and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.support.stage import PATIENCE

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
"""What has a terminal show its other screen, and the former one again."""
_HOME = "\x1b[H"
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A `taskqueue` command that runs on a terminal of `columns` x `rows`."""

    def __init__(self, *arguments: str, columns: int, rows: int) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(columns, rows)
        self.before = self.modes()
        self._shown = b""
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskqueue", *arguments],
            stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, preexec_fn=self._take,  # noqa: PLW1509
            env={key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES"}}
            | {"TERM": "xterm-256color"},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """Give the terminal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what runs, and close it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._theirs)
        self._reader.join(PATIENCE)
        os.close(self._ours)

    @property
    def text(self) -> str:
        """Give all that was written, with its codes."""
        return self._shown.decode(errors="replace")

    @property
    def screen(self) -> list[str]:
        """Give the lines of the last whole picture."""
        pictures = self.text.split(_HOME)
        last = next((each for each in reversed(pictures) if "q quit" in each), "")
        return [line.rstrip() for line in _CODES.sub("", last).split("\r\n")]

    def modes(self) -> list[Any]:
        """Give how the terminal handles what is typed."""
        return termios.tcgetattr(self._theirs)

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size, as when somebody pulls at a window."""
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def signal(self, number: int) -> None:
        """Send a signal to the command."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the command, and give its exit code."""
        return self._process.wait(PATIENCE)

    def stopped(self) -> None:
        """Wait until the command is stopped, as by Ctrl-Z."""
        os.waitpid(self._process.pid, os.WUNTRACED)

    def until(self, holds: Callable[[list[str]], bool], what: str) -> list[str]:
        """Wait for a picture of which something holds, and give it."""
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                shown = self.screen
                if holds(shown):
                    return shown
                if not self._changed.wait(deadline - time.monotonic()):
                    msg = f"never: {what}:\n" + "\n".join(shown) + f"\n{self.text[-2000:]!r}"
                    raise TimeoutError(msg)

    @staticmethod
    def _take() -> None:
        """Make the terminal that of the command, so that Ctrl-C and a new size come to it."""
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._ours, 65536)
            except OSError:
                part = b""
            with self._changed:
                self._shown += part
                self._changed.notify_all()
            if not part:
                return
