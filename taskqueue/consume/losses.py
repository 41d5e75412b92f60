"""What is said where the channel of a queue is lost."""

from __future__ import annotations

import logging

from taskqueue.broker.replies import absent, unacked_too_long
from taskqueue.topology import names

log = logging.getLogger(__name__)


def tell(queue: str, ladder: str, code: int, reason: str, *, held: int, refused: bool) -> str:
    """Log why a channel was closed; `held` counts the deliveries that may be the reason.

    Gives what the user lacks, where it was `refused`.
    """
    if refused:
        lacks = _may_not(queue, ladder, reason)
        log.error("%s", lacks)
        return lacks
    if absent(code, reason):
        log.error("%s is not declared (%s): run 'taskqueue declare'", queue, reason)
    elif unacked_too_long(code, reason):
        tell_overdue(queue, reason, held=held)
    else:
        log.warning("the channel of %s was closed (%s %s): opening it again", queue, code or "", reason)
    return ""


def tell_overdue(queue: str, reason: str, *, held: int) -> None:
    """Log that the broker has taken back what was out for too long.

    With a `reason` it has closed the channel. Without one it has ended the consumer, and takes no more back.
    """
    told = f" ({reason})" if reason else ""
    if held:
        log.warning(
            "%s: %d tasks were held for longer than the broker lets a delivery stay unacked%s, as it "
            "refuses what is to follow from them: where this consumer gets them again they do not run "
            "again%s",
            queue,
            held,
            told,
            ", and what else was out does" if reason else "",
        )
    else:
        log.warning(
            "%s: a task ran longer than the broker lets a delivery stay unacked%s: %s runs "
            "again; lower 'timeout' of this queue, or raise consumer_timeout in rabbitmq.conf",
            queue,
            told,
            "what was out" if reason else "it",
        )


def _may_not(queue: str, ladder: str, reason: str) -> str:
    """Say what the user lacks who may not consume a queue, settle what it would take, or see it paused."""
    writes = ", ".join(names.written(queue, ladder))
    return (
        f"queue {queue!r} is not consumed, as its tasks could not be settled, or not be paused ({reason}): "
        f"the user needs read permission on {queue} and write permission on {writes}; see 'taskqueue check'"
    )
