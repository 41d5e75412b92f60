"""A pause outlives what is killed meanwhile, and nobody else is held up by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue.topology import names
from tests.faults.silence import silent
from tests.support.alarms import Alarm
from tests.support.command import ran, read
from tests.support.stage import PATIENCE, Process, Stage, eventually

pytestmark = pytest.mark.slow

LASTS = 25
"""Seconds: longer than a broker takes to restart."""


def two_queues(broker: Broker, receiver: Receiver, folder: Path) -> Path:
    """Declare two queues with a task in each, and pause the first."""
    path = folder / "taskqueue.ini"
    sections = "".join(f"[{name}]\nbase_url = {receiver.url}\n" for name in ("mail", "sms"))
    path.write_text(f"server = {broker.url}\nlevels = 1\n{sections}")
    ran(path, "declare")
    ran(path, "pause", "mail")
    for queue in ("mail", "sms"):
        ran(path, "send", queue, f"/{queue}")
    return path


def test_a_pause_and_its_end_outlive_the_broker_and_the_consumers(
    private_broker: Broker, own_stage: Stage
) -> None:
    """No task begins before the end, and the restart does not move it."""
    stage, receiver = own_stage, own_stage.receiver
    killed = stage.run()
    paused_at = time.time()
    ran(stage.path, "pause", stage.name, "--for", f"{LASTS}s", "--reason", "a bad deploy")
    ended = time.time() + LASTS
    killed.wait_for("(a bad deploy)")
    stage.publish({"url": "/x"})
    private_broker.sync()
    killed.kill()
    private_broker.kill()
    private_broker.restart()
    stage.run_paused().wait_for("(a bad deploy)")
    (queue,) = read(stage.path, "inspect")["queues"]
    assert queue["paused"]["reason"] == "a bad deploy"
    receiver.wait_for(1, timeout=LASTS + PATIENCE)
    assert paused_at + LASTS <= receiver.requests[0].at < ended + PATIENCE
    stage.settle()


def test_a_silent_leader_of_a_pause_holds_up_no_other_queue(
    private_broker: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    """A consumer that starts meanwhile takes what is not paused, and leaves alone what is."""
    path = two_queues(private_broker, receiver, tmp_path)
    with silent(private_broker, names.paused("mail")):
        consumer = Process("run", "--config", str(path))
        try:
            # The first ask for a paused queue hangs, and only the next connection asks for the others before.
            receiver.wait_for(1, timeout=PATIENCE)
            assert [each.path for each in receiver.requests] == ["/sms"]
            assert "consuming from mail" not in consumer.log
            assert "unexpected error" not in consumer.log
        finally:
            consumer.stop()
    eventually(lambda: read(path, "inspect")["queues"][0]["paused"] is not False, "it is paused still")


def test_a_consumer_that_begins_during_an_alarm_takes_what_is_not_paused(
    private_broker: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    """Or nobody would take what fills the broker; and a pause holds all the same, and ends after it."""
    path, alarm = two_queues(private_broker, receiver, tmp_path), Alarm(private_broker)
    alarm.set()
    consumer = Process("run", "--config", str(path))
    try:
        receiver.wait_for(1, timeout=PATIENCE)
        consumer.wait_for("mail: paused by")
        assert [each.path for each in receiver.requests] == ["/sms"]
        alarm.clear()
        ran(path, "resume", "mail")
        receiver.wait_for(2, timeout=PATIENCE)
    finally:
        alarm.clear()
        consumer.stop()
    assert "unexpected error" not in consumer.log
