"""What pika logs about our connections: some fifteen lines for each that fails, where one of ours says it."""

from __future__ import annotations

import logging
import threading

_PIKA = logging.getLogger("pika")
_RESOLVER = "_resolve"


class IoThread(threading.Thread):
    """The thread of a link: what pika logs in it is about our connection."""


class _NotOurs(logging.Filter):
    """Passes what is about the connections of others; and all, where the level of pika is DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _PIKA.level == logging.DEBUG:
            return True
        # Names are looked up in a thread of pika's own; whoever asked for one is told again what came of it.
        return record.funcName != _RESOLVER and not isinstance(threading.current_thread(), IoThread)


_not_ours = _NotOurs()


def hush() -> None:
    """Leave out of the log of a program what pika says about our connections."""
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        # A filter holds for its own logger alone, and not for those below it.
        if name.partition(".")[0] == _PIKA.name and isinstance(logger, logging.Logger):
            logger.addFilter(_not_ours)
