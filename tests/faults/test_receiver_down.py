"""A receiver that is away for a while, with many tasks outstanding."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable

import pytest

from sandbox.node import free_ports
from sandbox.proxy import Proxy
from sandbox.receiver import Receiver
from tests.faults.harness import parameter
from tests.support.stage import Stage, eventually

BACKOFF = 8
JITTER = 0.5
"""Each waits 8 s ± a half, so that those that fail at once come back between 4 and 12 s later."""

_FIRST = re.compile(r"event=retried id=(\S+) queue=\S+ attempt=1 ")


@pytest.mark.slow
def test_tasks_come_back_spread_over_time_once_the_receiver_is_back(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """2,000 tasks fail for a while; all run in the end, and not all in one second."""
    comes_back(staged, receiver, tasks=2_000)


@pytest.mark.soak
def test_many_tasks_come_back_spread_over_time(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """The same with 10,000."""
    comes_back(staged, receiver, tasks=parameter("OUTSTANDING", 10_000))


def comes_back(staged: Callable[..., Stage], receiver: Receiver, *, tasks: int) -> None:
    """Send all while nobody listens, start to listen, and look at when they came."""
    (port,) = free_ports(1)
    stage = staged(
        base_url=f"http://127.0.0.1:{port}",
        min_backoff_seconds=BACKOFF,
        max_backoff_seconds=BACKOFF,
        jitter=JITTER,
        concurrency=32,
    )
    process = stage.run("--log-level", "info")
    with stage.client() as client:
        ids = client.send_many({"url": "/x", "queue": stage.name} for _ in range(tasks))
    eventually(lambda: set(_FIRST.findall(process.log)) == set(ids), "each has failed, as nobody is there")
    with Proxy(receiver.port, at=port):
        requests = receiver.wait_for(tasks, timeout=90)
        stage.settle()
    assert sorted(request.headers["Taskqueue-Id"] for request in requests) == sorted(ids)
    assert min(int(request.headers["Taskqueue-Attempt"]) for request in requests) >= 2
    # When they came due, as a busy machine takes them late and then many at once.
    peak, mean, seconds = rates([float(request.headers["Taskqueue-Due"]) for request in requests])
    print(json.dumps({"tasks": tasks, "seconds": seconds, "peak_per_second": peak, "mean_per_second": mean}))  # noqa: T201
    # They fail as fast as the consumer takes them, and come back over a window of 8 s: an eighth in each
    # second on average. Without jitter they would come as fast as they had failed.
    assert seconds >= BACKOFF * JITTER
    assert peak < tasks / 4


def rates(times: list[float]) -> tuple[int, int, int]:
    """Give the busiest second, the mean of all, and how many seconds it took."""
    first = min(times)
    by_second = Counter(int(at - first) for at in times)
    seconds = max(by_second) + 1
    return max(by_second.values()), round(len(times) / seconds), seconds
