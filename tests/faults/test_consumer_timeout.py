"""Tasks that are out for longer than the broker allows: it ends the channel, and from 4.3 on the consumer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sandbox.node import Broker, find_script
from sandbox.receiver import Answer, Receiver
from tests.support.stage import PATIENCE, Stage

TIMEOUT_MS = 4_000
"""The consumer timeout of the node: how long a delivery may stay without an ack."""
LIMIT = 3


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give one node for this module."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server to do harm with: run `make broker`")
    with Broker.start(config=(f"consumer_timeout = {TIMEOUT_MS}",)) as node:
        # Up to 4.2 channels look for old deliveries once a minute; rabbitmq.conf has no key for that.
        node.eval("application:set_env(rabbit, channel_tick_interval, 1000).")
        yield node


@pytest.fixture
def stage(node: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give one declared queue on that node."""
    stage = Stage(node.url, receiver, tmp_path).declare()
    yield stage
    stage.close()


@pytest.fixture
def ends_channels(node: Broker) -> bool:
    """Tell whether the broker closes the channel, and with it gives back what ran beside."""
    return tuple(map(int, node.ctl("version").split(".")[:2])) < (4, 3)


def wait_for_the_end(node: Broker, stage: Stage, receiver: Receiver) -> None:
    """Wait for the roll_back, on a node that forgets to look for old deliveries of a queue that is idle.

    4.3 sets its timer anew after each command to a queue, but not in the millisecond in which the last one
    was to fire (``rabbit_fifo:handle_aux``, eval): the next command to the queue mends that.
    """
    queue = f'rabbit_misc:r(<<"/">>, queue, <<"{stage.name}">>)'
    for _ in range(round(PATIENCE * 1000 / TIMEOUT_MS)):
        with suppress(TimeoutError):
            receiver.wait_for(1, path="/rolled", timeout=1.5 * TIMEOUT_MS / 1000)
            return
        node.eval(
            f"{{ok, Q}} = rabbit_amqqueue:lookup({queue}), ra:cast_aux_command(amqqueue:get_pid(Q), eval)."
        )
    pytest.fail("it is not dead")


def test_what_the_broker_ends_for_a_slow_receiver_begins_again(
    stage: Stage, receiver: Receiver, *, ends_channels: bool
) -> None:
    """One clear line; the task runs again, the others go on, and the consumer stays."""
    release = threading.Event()
    receiver.answer("/slow", [Answer(hold=release), 200])
    process = stage.run()
    stage.publish({"url": "/slow"}, message_id="slow")
    receiver.wait_for(1)
    process.wait_for("stay unacked")
    stage.publish({"url": "/quick"})
    receiver.wait_for(1, path="/quick")
    receiver.wait_for(2, path="/slow", timeout=PATIENCE)
    release.set()
    process.wait_for("event=void")
    stage.settle()
    assert "Traceback" not in process.log
    (line,) = [line for line in process.lines if "stay unacked" in line]
    assert (f"{TIMEOUT_MS} ms" if ends_channels else "it runs again") in line
    assert "lower 'timeout' of this queue, or raise consumer_timeout in rabbitmq.conf" in line


def test_a_held_task_that_the_broker_takes_back_does_not_run_again(stage: Stage, receiver: Receiver) -> None:
    """Its consumer knows what came of it; the reason that is told is not a slow receiver."""
    receiver.answer("/flaky", lambda request: 500 if request.headers["Taskqueue-Attempt"] == "1" else 200)
    process = stage.run()
    stage.cut_off("0.2s")
    stage.publish({"url": "/flaky"}, message_id="m")
    process.wait_for("held for longer than the broker lets a delivery stay unacked")
    process.wait_for("it comes again and has run")
    assert len(receiver.requests) == 1
    stage.declare()
    requests = receiver.wait_for(2, timeout=PATIENCE)
    assert [request.headers["Taskqueue-Attempt"] for request in requests] == ["1", "2"]
    stage.settle()
    assert "lower 'timeout'" not in process.log
    assert len(receiver.requests) == 2


def test_a_task_that_outlasts_the_broker_each_time_is_dead_and_no_other(
    node: Broker, stage: Stage, receiver: Receiver, *, ends_channels: bool
) -> None:
    """Its roll_back is called. What ran beside it goes on, also where the channel was closed over it."""
    release, beside = threading.Event(), threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    receiver.answer("/beside", [Answer(hold=beside), 200])
    stage.configure(delivery_limit=LIMIT, concurrency=4, timeout=60)
    process = stage.run()
    stage.publish({"url": "/slow", "roll_back": "/rolled"}, message_id="slow")
    receiver.wait_for(1, path="/slow")
    # So long that the broker does not take both for too old.
    beside.wait(TIMEOUT_MS / 2000)
    stage.publish({"url": "/beside"}, message_id="beside")
    receiver.wait_for(1, path="/beside")
    process.wait_for("beside: it comes again while its request runs" if ends_channels else "it runs again")
    beside.set()
    wait_for_the_end(node, stage, receiver)
    release.set()
    ((headers, _, properties),) = stage.dead()
    assert (properties.message_id, headers["taskqueue-reason"]) == ("slow", "delivery_limit")
    assert "longer than the broker lets a delivery stay unacked" in headers["taskqueue-error"]
    assert len(receiver.to("/slow")) <= LIMIT
    assert len(receiver.to("/beside")) == 1
    assert "lower 'timeout' of this queue" in process.log
    stage.settle()
    assert stage.depth(f"{stage.name}.dead") == 0
