"""rate and concurrency over the better part of a minute, counted at the receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from sandbox.receiver import Answer, Receiver, Request
from tests.support import command
from tests.support.stage import Stage

RATE = 20
TASKS = 800
SLOW = 400


def most_over(times: Sequence[float], rate: float) -> float:
    """Give by how many requests any stretch of time, short or long, had more than the rate allows."""
    # One pass: a stretch is worst where it begins with the most still to come.
    worst, best_start = 0.0, float("-inf")
    for number, at in enumerate(times):
        best_start = max(best_start, rate * at - number)
        worst = max(worst, number + 1 + best_start - rate * at)
    return worst


def test_the_excess_over_a_rate_is_found_in_any_stretch() -> None:
    """The measure itself: even spacing is one request over, a burst is its size."""
    assert most_over([n / 10 for n in range(50)], 10) == pytest.approx(1)
    assert most_over([0.0, 5.0, 5.0, 5.0, 9.0], 10) == pytest.approx(3)
    assert most_over([n / 11 for n in range(111)], 10) == pytest.approx(11)


@pytest.mark.slow
def test_rate_and_concurrency_are_kept_for_most_of_a_minute(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """No stretch has more than the rate and a small burst; a queue beside it uses all its threads."""
    lock = threading.Lock()
    now = most = 0

    def slow(_request: Request) -> Answer:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        receiver.closing.wait(0.05)
        with lock:
            now -= 1
        return Answer()

    receiver.answer("/slow", slow)
    limited, narrow = staged(rate=f"{RATE}/s", concurrency=10), staged(concurrency=3)
    with limited.client() as client:
        client.send_many({"url": "/limited", "queue": limited.name} for _ in range(TASKS))
    with narrow.client() as client:
        client.send_many({"url": "/slow", "queue": narrow.name} for _ in range(SLOW))
    limited.consume()
    narrow.consume()
    receiver.wait_for(SLOW, path="/slow")
    requests = receiver.wait_for(TASKS, timeout=3 * TASKS / RATE, path="/limited")
    limited.settle()
    narrow.settle()

    times = sorted(request.at for request in requests)
    # The burst is a tenth of a second's worth; on a busy machine a request takes a while to arrive, and
    # those behind it do not wait for that.
    assert most_over(times, RATE) < 1 + 0.1 * RATE + 2 * RATE
    assert TASKS / RATE - 2 < times[-1] - times[0] < 1.5 * TASKS / RATE
    assert len(receiver.to("/limited")) == TASKS

    assert most == 3
    assert len(receiver.to("/slow")) == SLOW
    # Each thread keeps its connection, from the first request to the last.
    assert len({request.connection for request in receiver.to("/slow")}) == 3


@pytest.mark.slow
def test_over_a_slow_rate_tasks_wait_in_the_work_queue(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """One in five seconds: none is at the consumer meanwhile, none on the ladder, and the order is kept."""
    stage = staged(rate="12/m")
    consumer = stage.run()
    with stage.client() as client:
        client.send_many({"url": f"/{number}", "queue": stage.name} for number in range(3))
    receiver.wait_for(1)
    (found,) = command.read(stage.path, "inspect")["queues"]
    assert (found["ready"], found["waiting"], found["consumers"]) == (2, 0, 1)
    first, second, third = receiver.wait_for(3)
    assert [each.path for each in (first, second, third)] == ["/0", "/1", "/2"]
    # A busy machine may be late with one, and the next comes no later for that.
    assert third.at - first.at > 9
    assert consumer.log.count("consuming from") == 1
    stage.settle()
