"""Makes the standard streams reliable: always open, right in any locale, one line where they fail."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from taskqueue.errors import TaskqueueError

_SHOWN = 200


class OutputFailed(TaskqueueError):
    """Standard output can't be written, most often as a disk is full. What the command did stays done."""


class _Output(io.FileIO):
    """A stream that calls `failed` for each fault. `failed` raises, or ignores the fault.

    A reader that has gone away is none: it has enough, and what the command does and finds stays as it is.
    """

    gone = False
    """Nobody reads it any more."""

    def __init__(self, descriptor: int, failed: Callable[[OSError, bytes], None]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._failed = failed

    def write(self, data: bytes | bytearray | memoryview, /) -> int | None:  # type: ignore[override]
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except BrokenPipeError:
            self.gone = True
            return len(data)
        except OSError as error:
            self._failed(error, bytes(data))
            return len(data)


def prepare() -> None:
    """Open streams that are closed, and escape text that the locale lacks; once, before anything else.

    No file or socket may get the number of a standard stream, as output would be written to it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # open takes the lowest free number, which is that of the stream.
            descriptor = os.open(os.devnull, os.O_RDWR)
            stream = os.fdopen(descriptor, mode, encoding="utf-8", errors="backslashreplace", closefd=False)
            setattr(sys, name, stream)
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _wrapped(sys.stdout, _tell)
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _wrapped(sys.stderr, _pass_over)


def finish() -> None:
    """Write what is left; raises OutputFailed where that fails, and SystemExit where nobody reads it."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop()
        raise SystemExit(1) from None


def read() -> bool:
    """Tell whether somebody reads standard output, as far as is known."""
    raw: Any = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return not getattr(raw, "gone", False)


def drop() -> None:
    """Drop what could not be written: Python would try again at its end, and complain."""
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
    # A short output, such as the id of a task that was sent, is repeated in the error.
    told = f"; it was to be: {text}" if text and len(text) <= _SHOWN and text.isprintable() else ""
    raise OutputFailed(f"can't write to standard output: {error.strerror}{told}") from error


def _pass_over(_error: OSError, _data: bytes) -> None:
    """Say nothing, as nobody reads it."""
