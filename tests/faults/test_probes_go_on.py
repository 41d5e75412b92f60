"""Probes outlive an alarm and the broker, and hold up no task meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.broker import Broker, find_script
from sandbox.receiver import Receiver
from taskqueue.consume import probes
from taskqueue.topology import names
from tests.support.alarms import Alarm
from tests.support.seen import Seen
from tests.support.stage import PATIENCE, Stage, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give one node for this module."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server to do harm to: run `make broker`")
    with Broker.start() as node:
        yield node


def test_probes_go_on_after_an_alarm_and_after_a_kill(
    node: Broker,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the alarm the connection of the tasks goes on, as no probe was published there."""
    monkeypatch.setattr(probes, "PERIOD", 1.0)
    stage, seen = Stage(node.url, receiver, tmp_path, probe=True).declare(), Seen()
    node.sync()
    try:
        stage.consume(seen)
        seen.wait_for(2)
        stage.send("/x", countdown=2)
        with Alarm(node):
            receiver.wait_for(1, timeout=PATIENCE)
            count = "list_queues", "-q", "--no-table-headers", "name", "messages"
            empty = f"{stage.name}\t0"
            eventually(lambda: empty in node.ctl(*count).splitlines(), "the task is acked")
        assert "the broker takes no publishes" not in caplog.text
        seen.wait_for(len(seen.late) + 2)
        node.kill()
        node.restart()
        seen.wait_for(len(seen.late) + 2)
        assert "is not probed by this consumer" not in caplog.text
        stage.stop()
        assert (stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 0)
    finally:
        stage.stop()


def test_a_queue_of_probes_that_is_away_costs_no_more_than_its_own(
    node: Broker,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """RabbitMQ ends the connection of who asks for it, by which pauses are seen as well."""
    monkeypatch.setattr(probes, "_AWAY", 5.0)
    stage, seen = Stage(node.url, receiver, tmp_path, probe=True).declare(), Seen()
    node.sync()
    leader(node, names.probe(stage.name), "stop_server")
    try:
        stage.consume(seen)
        eventually(lambda: "is not probed for" in caplog.text, "it is left alone")
        stage.send("/x")
        receiver.wait_for(1, timeout=PATIENCE)
        leader(node, names.probe(stage.name), "restart_server")
        seen.wait_for(1)
    finally:
        stage.stop()


def leader(node: Broker, queue: str, what: str) -> None:
    """Stop the only member of a quorum queue, or start it again."""
    node.eval(
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), '
        f"ok = ra:{what}(quorum_queues, amqqueue:get_pid(Q)).",
    )
