"""The two queues that are there while a queue is paused: their arguments. No plan has them."""

from __future__ import annotations

from taskqueue.topology.plan import NEWEST, QUORUM

PAUSE_NOTE = NEWEST
"""The arguments of the queue that holds the newest note on a pause."""


def pause_queue(lasts_ms: int | None) -> dict[str, str | int]:
    """Make the arguments of the queue that stands for a pause of so many milliseconds, None for no end.

    What consumers ask by is dropped in it. A quorum queue counts its expiry from when it was made, over
    restarts of the broker and passive looks at it (``rabbit_fifo:is_expired/2``, 3.10 to 4.3).
    """
    arguments: dict[str, str | int] = {
        "x-queue-type": QUORUM,
        "x-max-length": 1,
        "x-overflow": "drop-head",
    }
    return arguments if lasts_ms is None else arguments | {"x-expires": lasts_ms}
