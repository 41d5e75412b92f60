"""What a broker may do to its clients: alarms, channels closed, publishes returned or refused."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.node import Broker, find_script
from sandbox.receiver import Answer, Receiver
from taskqueue import Client
from taskqueue.errors import PublishFailed
from taskqueue.topology import names
from taskqueue.topology.plan import plan
from tests.support.alarms import ALARMS, Alarm
from tests.support.stage import PATIENCE, Stage, eventually


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give one node for this module."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server to do harm with: run `make broker`")
    with Broker.start() as node:
        yield node


@pytest.fixture
def stage(node: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give one declared queue on that node."""
    stage = Stage(node.url, receiver, tmp_path).declare()
    yield stage
    stage.close()


@pytest.fixture(params=ALARMS)
def alarm(node: Broker, request: pytest.FixtureRequest) -> Iterator[Alarm]:
    """Give each of the node's alarms."""
    alarm = Alarm(node, request.param)
    yield alarm
    alarm.clear()


def fails_once(receiver: Receiver, path: str = "/flaky") -> None:
    """Let the first attempt of every task of a path fail."""
    receiver.answer(path, lambda request: 500 if request.headers["Taskqueue-Attempt"] == "1" else 200)


def test_a_retry_that_meets_an_alarm_is_published_after_it(
    stage: Stage, receiver: Receiver, alarm: Alarm
) -> None:
    """It waits for the broker: not lost, and not published twice."""
    release = threading.Event()
    receiver.answer("/x", [Answer(500, hold=release), 200])
    process = stage.run()
    stage.publish({"url": "/x"})
    receiver.wait_for(1)
    alarm.set()
    release.set()
    process.wait_for("takes no publishes")
    alarm.clear()
    process.wait_for("takes publishes again")
    receiver.wait_for(2, timeout=PATIENCE)
    stage.settle()
    assert [request.headers["Taskqueue-Attempt"] for request in receiver.requests] == ["1", "2"]


def test_a_consumer_stops_in_time_during_an_alarm_and_loses_nothing(
    stage: Stage, receiver: Receiver, alarm: Alarm
) -> None:
    """What it could not settle in its grace is handed out again."""
    release = threading.Event()
    receiver.answer("/x", [Answer(500, hold=release), 200])
    process = stage.run("--grace", "2")
    stage.publish({"url": "/x"}, message_id="m")
    receiver.wait_for(1)
    alarm.set()
    release.set()
    process.wait_for("takes no publishes")
    begin = time.monotonic()
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert time.monotonic() - begin < 2 + 8
    alarm.clear()
    stage.run()
    requests = receiver.wait_for(2, timeout=PATIENCE)
    assert {request.headers["Taskqueue-Id"] for request in requests} == {"m"}
    stage.settle()


def test_a_send_during_an_alarm_raises_in_time_and_says_why(stage: Stage, alarm: Alarm) -> None:
    """Rather than to hang for as long as the alarm lasts."""
    alarm.set()
    with Client(stage.settings.servers[0], timeout=2) as client:
        begin = time.monotonic()
        with pytest.raises(PublishFailed, match="alarm"):
            client.send("/x", stage.name)
        assert time.monotonic() - begin < 2 + 10


def test_a_retry_that_no_queue_takes_is_kept_until_one_does(stage: Stage, receiver: Receiver) -> None:
    """All ways were deleted by hand: the publish is returned, tried again, and the task is held meanwhile."""
    fails_once(receiver)
    process = stage.run()
    stage.cut_off("0.2s")
    stage.publish({"url": "/flaky"}, message_id="m")
    process.wait_for("no queue is bound")
    assert "run 'taskqueue declare'" in process.log
    assert len(receiver.requests) == 1
    stage.declare()
    requests = receiver.wait_for(2, timeout=PATIENCE)
    assert [request.headers["Taskqueue-Id"] for request in requests] == ["m", "m"]
    stage.settle()


def test_a_retry_whose_rung_is_gone_runs_all_the_same_and_not_early(stage: Stage, receiver: Receiver) -> None:
    """Deleted by hand: what finds no way comes to the work queue, which is soon enough."""
    fails_once(receiver)
    process = stage.run()
    with stage.connection() as connection:
        connection.channel().queue_delete(f"{stage.name}.wait.0.2s")
    stage.publish({"url": "/flaky"}, message_id="m")
    first, second = receiver.wait_for(2, timeout=PATIENCE)
    assert second.at - first.at >= 0.2
    assert float(second.headers["Taskqueue-Due"]) <= second.at
    process.stop()
    assert "Traceback" not in process.log


def test_tasks_that_wait_are_kept_while_the_exchange_after_their_leg_is_gone(
    stage: Stage, receiver: Receiver
) -> None:
    """Deleted by hand, with a consumer running: what expires meanwhile stays in its wait queue."""
    process = stage.run()
    with stage.connection() as connection:
        channel = connection.channel()
        for exchange in level_exchanges(stage):
            channel.exchange_delete(exchange)
    sent = [stage.send("/x", countdown=wait) for wait in (0.3, 0.5, 0.7, 1.3)]
    # All of them are over due, and none of them has come.
    with pytest.raises(TimeoutError):
        receiver.wait_for(1, timeout=3)
    stage.declare()
    requests = receiver.wait_for(len(sent), timeout=PATIENCE)
    assert sorted(request.headers["Taskqueue-Id"] for request in requests) == sorted(sent)
    assert "Traceback" not in process.log
    stage.settle()


def test_a_task_that_failed_for_good_is_kept_while_the_dead_exchange_is_gone(
    stage: Stage, receiver: Receiver
) -> None:
    """One clear line; it stands in the dead queue once that is declared again."""
    receiver.answer("/x", 500)
    process = stage.run()
    with stage.connection() as connection:
        connection.channel().exchange_delete(names.dead(stage.name))
        connection.channel().queue_delete(names.dead(stage.name))
    stage.publish({"url": "/x", "max_retries": 1}, message_id="m")
    process.wait_for("is not declared")
    assert "run 'taskqueue declare'" in process.log
    stage.declare()
    ((headers, _, properties),) = stage.dead()
    assert (headers["taskqueue-reason"], properties.message_id) == ("failed", "m")
    assert "Traceback" not in process.log
    stage.settle()


def level_exchanges(stage: Stage) -> list[str]:
    """Give the exchanges to which the wait queues dead-letter."""
    return [
        exchange.name
        for exchange in plan(stage.settings.layout).exchanges
        if exchange.name.startswith(f"{names.wait(stage.name)}.") and exchange.name != names.due(stage.name)
    ]


def limit(node: Broker, stage: Stage, rung: str) -> None:
    """Have a wait queue be full with the first message: the bound is checked before one is put in."""
    set_limit(node, stage, rung, 0)
    named = f'"{stage.name}"'
    eventually(lambda: named in node.ctl("list_policies", "--formatter", "json"), "the policy in force")


def set_limit(node: Broker, stage: Stage, rung: str, most: int) -> None:
    """Limit a wait queue by a policy."""
    pattern = f"^{stage.name}\\.wait\\.{rung}$"
    node.ctl("set_policy", "--apply-to", "queues", stage.name, pattern, f'{{"max-length": {most}}}')


def make_room(node: Broker, stage: Stage, rung: str, how: str) -> None:
    """End that; RabbitMQ tells no channel that was refused of it."""
    if how == "raised":
        set_limit(node, stage, rung, 1000)
    else:
        node.ctl("clear_policy", stage.name)


@pytest.mark.parametrize("how", ["raised", "taken away"])
def test_a_client_sends_again_once_a_full_queue_has_room(stage: Stage, node: Broker, how: str) -> None:
    """A send that was refused says so, and the next ones go through without a new client."""
    limit(node, stage, "90s")

    def is_refused() -> bool:
        try:
            client.send("/x", stage.name, countdown=95)
        except PublishFailed as error:
            return "nack" in str(error)
        return False

    with stage.client() as client:
        try:
            eventually(is_refused, "the queue full")
        finally:
            make_room(node, stage, "90s", how)
        eventually(lambda: not is_refused(), "room")
        for _ in range(20):
            client.send("/x", stage.name, countdown=95)


@pytest.mark.parametrize("how", ["raised", "taken away"])
def test_a_retry_that_a_full_queue_refuses_is_kept_until_it_is_taken(
    stage: Stage, receiver: Receiver, node: Broker, how: str
) -> None:
    """reject-publish gives a nack, not silence: tried again, and the task is held meanwhile."""
    fails_once(receiver)
    process = stage.run()
    limit(node, stage, r"0\.2s")
    try:
        for number in range(5):
            stage.publish({"url": "/flaky"}, message_id=f"m-{number}")
        process.wait_for("refused by the broker (nack)")
    finally:
        make_room(node, stage, r"0\.2s", how)
    # The longest pause between two tries is half a minute, and rabbitmqctl takes a while on a busy machine.
    receiver.wait_for(10, timeout=3 * PATIENCE)
    stage.settle()
