"""Probes outlive an alarm and the broker, and hold up no task meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue.consume import probes
from tests.support.alarms import Alarm
from tests.support.seen import Seen
from tests.support.stage import PATIENCE, Stage, eventually

pytestmark = pytest.mark.slow


def test_probes_go_on_after_an_alarm_and_after_a_kill(
    private_broker: Broker,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the alarm the connection of the tasks goes on, as no probe was published there."""
    monkeypatch.setattr(probes, "PERIOD", 1.0)
    stage, seen = Stage(private_broker.url, receiver, tmp_path, probe=True).declare(), Seen()
    private_broker.sync()
    try:
        stage.consume(seen)
        seen.wait_for(2)
        stage.send("/x", countdown=2)
        with Alarm(private_broker):
            receiver.wait_for(1, timeout=PATIENCE)
            count = "list_queues", "-q", "--no-table-headers", "name", "messages"
            empty = f"{stage.name}\t0"
            eventually(lambda: empty in private_broker.ctl(*count).splitlines(), "the task is acked")
        assert "the broker takes no publishes" not in caplog.text
        seen.wait_for(len(seen.late) + 2)
        private_broker.kill()
        private_broker.restart()
        seen.wait_for(len(seen.late) + 2)
        assert "is not probed by this consumer" not in caplog.text
        stage.stop()
        assert (stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 0)
    finally:
        stage.stop()
