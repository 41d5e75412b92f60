"""A pause outlives what is killed meanwhile, and nobody else is held up by it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue.topology import names
from tests.faults.silence import silent
from tests.support.command import ran, read
from tests.support.stage import PATIENCE, Process, Stage, eventually

pytestmark = pytest.mark.slow

LASTS = 25
"""Seconds: longer than a broker takes to restart."""


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
    path = tmp_path / "taskqueue.ini"
    sections = "".join(f"[{name}]\nbase_url = {receiver.url}\n" for name in ("mail", "sms"))
    path.write_text(f"server = {private_broker.url}\nlevels = 1\n{sections}")
    ran(path, "declare")
    ran(path, "pause", "mail")
    for queue in ("mail", "sms"):
        ran(path, "send", queue, f"/{queue}")
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
