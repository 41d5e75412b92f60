"""The tasks that a sender sends: how many, how fast, with which delays; from its command line."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator


def tasks() -> Iterator[tuple[str, float | None]]:
    """Yield the URL and the delay in seconds of each task, at the rate that was asked for.

    The command line has the URL, the count, tasks a second (0: as fast as it goes) and the bounds of
    the delay in seconds (0 and 0: none). A delayed task's URL says when it is due.
    """
    url, count, rate, low, high = sys.argv[1], *(float(word) for word in sys.argv[2:6])
    numbers = random.Random(1)
    start = time.monotonic()
    for number in range(int(count)):
        if rate:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
        if not high:
            yield url, None
            continue
        delay = numbers.uniform(low, high)
        yield f"{url}?due={time.time() + delay:.3f}", delay
