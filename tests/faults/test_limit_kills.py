"""Limits over several consumers, some of which are killed or silent, or whose broker is."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.broker import Broker, Server
from sandbox.receiver import Answer, Receiver, Request
from taskqueue.topology import names
from tests.faults.test_poison import HANDLER, Consumers
from tests.integration.consume.test_rate import most_over
from tests.support.crowd import Crowd
from tests.support.stage import PATIENCE, Stage, eventually

PATH = "/crowd"


def send(stage: Stage, count: int) -> None:
    """Send so many tasks."""
    with stage.client() as client:
        client.send_many({"url": PATH, "queue": stage.name} for _ in range(count))


def run_out(stage: Stage, receiver: Receiver, count: int) -> None:
    """Wait until each of so many tasks has run, some of them twice, and stop the consumers."""
    eventually(
        lambda: len({each.headers["Taskqueue-Id"] for each in receiver.to(PATH)}) == count, "all have run"
    )
    stage.stop()


def permits(stage: Stage) -> int:
    """Count the permits that nobody holds."""
    return stage.depth(names.permits(stage.name))


@pytest.mark.slow
def test_the_permits_of_killed_consumers_come_back_and_none_is_lost_or_doubled(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """One of three is killed, again and again; the others go on, and never more at once than the limit."""
    crowd = Crowd(receiver, PATH, 0.1)
    stage = staged(max_concurrency=2)
    consumers = [stage.run() for _ in range(3)]
    for number in range(4):
        # A consumer may be long in starting, and the others run what there is meanwhile.
        send(stage, 100)
        receiver.wait_for(len(receiver.to(PATH)) + 10, path=PATH)
        consumers[number % 3].kill()
        # What it had begun has an answer by then.
        receiver.wait_for(len(receiver.to(PATH)) + 10, path=PATH)
        crowd.most()
        receiver.wait_for(len(receiver.to(PATH)) + 20, path=PATH)
        assert crowd.most() == 2
        consumers[number % 3] = stage.run()
    run_out(stage, receiver, 400)
    assert permits(stage) == 2


@pytest.mark.slow
def test_the_permit_of_a_silent_consumer_goes_to_another_once_the_broker_has_given_it_up(
    staged: Callable[..., Stage], broker: Server, receiver: Receiver
) -> None:
    """Nobody runs in its place before; and when it is back it runs no more than others let it."""
    crowd = Crowd(receiver, PATH, 0.5)
    stage = staged(server=f"{broker.url}?heartbeat=2", max_concurrency=1)
    send(stage, 80)
    silent = stage.run()
    receiver.wait_for(2, path=PATH)
    silent.signal(signal.SIGSTOP)
    stage.run()
    receiver.wait_for(8, path=PATH)
    assert crowd.most() == 1
    silent.signal(signal.SIGCONT)
    silent.wait_for("consuming from", times=2)
    # What it may have begun before it knew has an answer by then.
    receiver.wait_for(len(receiver.to(PATH)) + 2, path=PATH)
    crowd.most()
    receiver.wait_for(len(receiver.to(PATH)) + 6, path=PATH)
    assert crowd.most() == 1
    crowd.seconds = 0.0
    run_out(stage, receiver, 80)
    assert permits(stage) == 1


@pytest.mark.slow
def test_permits_outlive_a_broker_that_is_killed(
    private_broker: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    """None is lost or doubled, and the consumers go on with as many at once as before."""
    crowd = Crowd(receiver, PATH, 0.1)
    stage = Stage(private_broker.url, receiver, tmp_path, max_concurrency=3, rate="200/s").declare()
    private_broker.sync()
    send(stage, 400)
    for _ in range(2):
        stage.run()
    for _ in range(2):
        receiver.wait_for(len(receiver.to(PATH)) + 30, path=PATH)
        private_broker.kill()
        private_broker.restart()
    receiver.wait_for(len(receiver.to(PATH)) + 10, path=PATH)
    crowd.most()
    receiver.wait_for(len(receiver.to(PATH)) + 40, path=PATH)
    assert crowd.most() == 3
    run_out(stage, receiver, 400)
    assert permits(stage) == 3


@pytest.mark.slow
def test_a_rate_holds_over_consumers_that_come_and_are_killed(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Whoever is left takes over the share of the killed, and nobody gets more when one joins."""
    rate, times = 20, list[float]()

    def note(_request: Request) -> Answer:
        times.append(time.monotonic())
        return Answer()

    receiver.answer(PATH, note)
    stage = staged(rate=f"{rate}/s")
    send(stage, 80 * rate)
    first = stage.run()
    receiver.wait_for(3 * rate, timeout=PATIENCE, path=PATH)
    second = stage.run()
    stage.run()
    receiver.wait_for(len(times) + 6 * rate, timeout=PATIENCE, path=PATH)
    first.kill()
    second.kill()
    killed = time.monotonic()
    receiver.wait_for(len(times) + 10 * rate, timeout=PATIENCE, path=PATH)
    stage.stop()

    # What a busy machine has held up comes at once: up to a second of tokens, and what was on its way.
    assert most_over(sorted(times), 1.03 * rate) < 1 + 0.1 * rate + 2 * rate
    # Far more than the third that was its share.
    late = [at for at in times if at - killed > 5]
    assert len(late) > 2 * rate
    assert len(late) / (late[-1] - late[0]) > 0.8 * rate


def test_a_task_that_ends_its_consumers_is_dead_all_the_same_where_there_are_limits(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """It is counted over its turns, and the permit that it had each time is back."""
    crowd = Crowd(receiver, PATH, 0.1)
    stage = staged(handlers=HANDLER, delivery_limit=3, concurrency=4, max_concurrency=2, rate="20/s")
    send(stage, 10)
    stage.publish({"url": "/poison", "roll_back": "/rolled"}, message_id="poison")
    send(stage, 20)
    with Consumers(stage, 2) as consumers:
        receiver.wait_for(1, timeout=PATIENCE, path="/rolled")
        run_out(stage, receiver, 30)
    assert consumers.deaths == 3
    ((headers, _, properties),) = stage.dead()
    assert (properties.message_id, headers["taskqueue-reason"]) == ("poison", "delivery_limit")
    assert crowd.most() <= 3
    eventually(lambda: permits(stage) == 2, "both permits are back")
