"""Standard streams that can be relied on: open, in any locale, and with one line where they fail."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from taskqueue.errors import TaskqueueError

_SHOWN = 200


class OutputFailed(TaskqueueError):
    """Standard output can't be written: a full disk, most often. What the command did is done."""


class _Output(io.FileIO):
    """A stream whose faults are told by `failed`, which raises, or takes them as they are."""

    def __init__(self, descriptor: int, failed: Callable[[OSError, bytes], None]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._failed = failed

    def write(self, data: bytes | bytearray | memoryview, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except (BlockingIOError, BrokenPipeError):
            raise
        except OSError as error:
            self._failed(error, bytes(data))
            return len(data)


def prepare() -> None:
    """Open what is closed, and have text go out that the locale can't hold; once, before anything else.

    A file or a socket must not get the number of a standard stream: it would be written to as one.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest number that is free is that of the stream.
            descriptor = os.open(os.devnull, os.O_RDWR)
            stream = os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _wrapped(sys.stdout, _tell)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _wrapped(sys.stderr, _pass_over)


def finish() -> None:
    """Write what is left; raises OutputFailed where that can't be, and SystemExit where nobody reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop()
        raise SystemExit(1) from None


def drop() -> None:
    """Leave unwritten what could not be written: Python would try again at its end, and complain."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError):
        return


def fitting(text: str) -> str:
    """Escape what the encoding of standard output lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def fits(text: str) -> bool:
    """Tell whether the encoding of standard output has all that is in a text."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _wrapped(stream: TextIO, failed: Callable[[OSError, bytes], None]) -> io.TextIOWrapper:
    stream.flush()
    raw: Any = _Output(stream.fileno(), failed)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.isatty() or failed is _pass_over,
    )


def _tell(error: OSError, data: bytes) -> None:
    text = data.decode(errors="replace").strip()
    # What a command has to say in one word, such as the id of a task that is sent, is said here then.
    told = f"; it was to be: {text}" if text and len(text) <= _SHOWN and text.isprintable() else ""
    raise OutputFailed(f"can't write to standard output: {error.strerror}{told}") from error


def _pass_over(_error: OSError, _data: bytes) -> None:
    """Say nothing: there is nobody to say it to."""
