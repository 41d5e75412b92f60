"""Commands while the broker has a disk alarm, and takes no message: each ends in time, with a code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from sandbox.broker import Broker, find_script
from sandbox.receiver import Receiver
from tests.support.command import run
from tests.support.stage import Stage, eventually

BOUND = 45.0
"""Seconds that a command may take: it may have to wait for a confirm that never comes, for 30."""


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give a node with an alarm of its own."""
    if find_script() is None:
        pytest.skip("no local rabbitmq-server whose disk could be full: run `make broker`")
    with Broker.start() as node:
        yield node


@pytest.fixture(scope="module")
def alarmed(node: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a queue with a dead and a waiting task on a node that takes no more."""
    with Receiver() as receiver:
        stage = Stage(node.url, receiver, tmp_path_factory.mktemp("alarm")).declare()
        stage.send("/later", countdown=90)
        with stage.connection() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for name in ("x", "y"):
                properties = pika.BasicProperties(message_id=name, headers={"taskqueue-reason": "failed"})
                channel.basic_publish("", f"{stage.name}.dead", b'{"url": "/x"}', properties, mandatory=True)
        node.ctl("set_disk_free_limit", "1000GB")
        eventually(lambda: "disk" in node.eval("rabbit_alarm:get_alarms()."), "the alarm")
        yield stage


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("inspect", 0),
        ("check", 0),
        ("declare", 0),
        ("declare --dry-run", 0),
        ("declare --config {other}", 0),
        ("dead list {queue}", 0),
        ("dead show {queue} x", 0),
        ("waiting list {queue}", 0),
        ("waiting cancel {queue} --id nobody --yes", 1),
        ("dead purge {queue} --id y --yes", 0),
        ("send {queue} /x --timeout 2", 1),
        ("send {queue} /x --countdown 5 --timeout 2", 1),
        ("dead replay {queue} --all --yes", 1),
    ],
)
def test_every_command_ends_in_time_during_an_alarm(
    alarmed: Stage, tmp_path: Path, command: str, code: int
) -> None:
    """What publishes nothing works as ever; what does says that it was not confirmed."""
    other = tmp_path / "other.ini"
    other.write_text(alarmed.path.read_text().replace(alarmed.name, f"{alarmed.name}-2"))
    words = command.format(queue=alarmed.name, other=other).split()
    path = other if "--config" in words else alarmed.path
    before = time.monotonic()
    done = run(path, *(word for word in words if word not in {"--config", str(other)}))
    told = done.stderr.decode()
    assert done.returncode == code, (done.stdout, told)
    assert time.monotonic() - before < BOUND
    assert "Traceback" not in told
    if code:
        assert len(told.splitlines()) == 1
    if "send" in command or "replay" in command:
        assert "confirm" in told or "alarm" in told, told
