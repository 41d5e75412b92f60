"""Reads single keys from a terminal, and leaves it as it was."""

from __future__ import annotations

import os
import re
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_MOST = 64
_NAMED = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b[5~": "page up",
    "\x1b[6~": "page down", "\x1b[H": "home", "\x1bOH": "home", "\x1b[F": "end", "\x1bOF": "end",
}  # fmt: skip
"""What a terminal sends for the keys that are no characters (ECMA-48; both modes of the cursor keys)."""
_KEY = re.compile(r"\x1b(?:\[[0-9;?]*[@-~]?|O.?)?|.", re.DOTALL)


@contextmanager
def pressed() -> Iterator[int | None]:
    """Have keys come as they are pressed, without an echo; give what to read them from.

    None where standard input is no terminal of ours: then there are no keys. Ctrl-C still is a signal.
    """
    descriptor, before = -1, None
    try:
        descriptor = sys.stdin.fileno()
        # A process in the background would be stopped when it changes the terminal.
        mine = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
        before = termios.tcgetattr(descriptor) if mine else None
    except (OSError, ValueError, termios.error):
        pass
    if before is None:
        yield None
        return
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield descriptor
    finally:
        # It is gone where the window was closed.
        with suppress(OSError, termios.error):
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)


def read(descriptor: int) -> tuple[str, ...]:
    """Read the keys that have been pressed; raises EOFError where the terminal is gone."""
    try:
        data = os.read(descriptor, _MOST)
    except BlockingIOError:
        return ()
    except OSError as error:
        raise EOFError from error
    if not data:
        raise EOFError
    return tuple(split(data.decode(errors="replace")))


def split(text: str) -> Iterator[str]:
    """Split what a terminal sent into keys: characters, and names of those that are none."""
    for found in _KEY.finditer(text):
        key = found[0]
        # A key that nothing is known of, or Escape itself.
        if not key.startswith("\x1b") or key in _NAMED:
            yield _NAMED.get(key, key)
