"""Log lines for people (text) or machines (JSON), on standard error."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import Any

from taskqueue.events import Event, fields, summary, timestamp
from taskqueue.logwriter import BackgroundHandler
from taskqueue.redact import without_logins

LEVELS = ("debug", "info", "warning", "error")


def start(log_format: str, level: str) -> None:
    """Send the log of this process to standard error, as ``text`` or ``json`` lines."""
    finish()
    handler = _handler()
    handler.setFormatter(_Json(_encoding()) if log_format == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Python itself would write them, and wait until somebody reads them.
    logging.captureWarnings(capture=True)
    # Our own link logs what goes wrong on a connection, once.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def finish() -> bool:
    """Write what is left, as long as somebody reads it; False where lines remain."""
    ours = [handler for handler in logging.getLogger().handlers if isinstance(handler, BackgroundHandler)]
    return all(handler.finish() for handler in ours)


def _handler() -> logging.Handler:
    if sys.stderr is None:
        # Closed: its number may be that of another file by now, or of a socket.
        return logging.NullHandler()
    try:
        return BackgroundHandler(sys.stderr.fileno(), _encoding())
    except io.UnsupportedOperation:
        return logging.StreamHandler(sys.stderr)


def _encoding() -> str:
    return getattr(sys.stderr, "encoding", None) or "utf-8"


def harmless(line: str) -> str:
    """Escape what a terminal might obey, and what a reader might take for a line of its own."""
    if line.isprintable():
        return line
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in line
    )


class _Plain(logging.Formatter):
    def formatException(self, ei: Any) -> str:  # noqa: N802 the name that logging has for it
        return without_logins(super().formatException(ei))


class _Text(_Plain):
    def format(self, record: logging.LogRecord) -> str:
        message = harmless(without_logins(record.getMessage()))
        line = f"{timestamp(record.created)} {record.levelname.lower()} {message}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _Json(_Plain):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    def format(self, record: logging.LogRecord) -> str:
        event = record.msg if isinstance(record.msg, Event) else None
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": without_logins(record.getMessage()) if event is None else summary(event),
        }
        if event is not None:
            line |= fields(event)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        written = json.dumps(line, ensure_ascii=False)
        try:
            written.encode(self._encoding)
        except UnicodeEncodeError:
            return json.dumps(line)
        return written
