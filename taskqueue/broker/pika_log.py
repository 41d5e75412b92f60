"""Silences pika about our own connections: it logs some fifteen lines for each failure, and we log one."""

from __future__ import annotations

import logging
import threading

_PIKA = logging.getLogger("pika")
_RESOLVER = "_resolve"


class IoThread(threading.Thread):
    """The thread of a link. What pika logs in this thread is about our connection."""


class _NotOurs(logging.Filter):
    """Passes what is about other connections, and everything where the level of pika's logger is DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _PIKA.level == logging.DEBUG:
            return True
        # pika looks names up in a thread of its own, and logs the outcome once more in the thread that asked.
        return record.funcName != _RESOLVER and not isinstance(threading.current_thread(), IoThread)


_not_ours = _NotOurs()


def hush() -> None:
    """Keep what pika says about our connections out of a program's log."""
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        # A filter holds for its own logger only, and not for the loggers below it.
        if name.partition(".")[0] == _PIKA.name and isinstance(logger, logging.Logger):
            logger.addFilter(_not_ours)
