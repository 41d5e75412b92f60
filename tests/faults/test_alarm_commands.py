"""Commands while the broker has a disk alarm, and takes no message: each ends in time, with a code."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest

from sandbox.broker import Broker, find_script
from sandbox.receiver import Receiver
from tests.support.alarms import Alarm
from tests.support.command import ran, read, run
from tests.support.stage import Stage

BOUND = 25.0
"""Seconds that a command may take: far more than any does, and less than the 30 that a confirm may take."""

READY = {"ready-1", "ready-2", "ready-3"}


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give a node with an alarm of its own."""
    if find_script() is None:
        pytest.skip("no local rabbitmq-server whose disk could be full: run `make broker`")
    with Broker.start(management=True) as node:
        yield node


@pytest.fixture(scope="module")
def alarmed(node: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a queue with a dead and a waiting task on a node that takes no more."""
    with Receiver() as receiver:
        stage = Stage(node.url, receiver, tmp_path_factory.mktemp("alarm")).declare()
        stage.send("/later", countdown=90)
        with stage.connection() as connection:
            channel = connection.channel()
            queues = dict.fromkeys(READY, stage.name) | dict.fromkeys("xy", f"{stage.name}.dead")
            for name, queue in queues.items():
                properties = pika.BasicProperties(message_id=name, headers={"taskqueue-reason": "failed"})
                channel.basic_publish("", queue, b'{"url": "/x"}', properties, mandatory=True)
        text = stage.path.read_text()
        config(stage, "other").write_text(text.replace(stage.name, f"{stage.name}-2"))
        config(stage, "managed").write_text(f"management_url = {node.management_url}\n{text}")
        config(stage, "classic").write_text(f"queue_type = classic\n{text}")
        with Alarm(node, "disk"):
            yield stage


def config(stage: Stage, name: str) -> Path:
    """Name another configuration of it."""
    return stage.path.with_name(f"{name}.ini")


def ready(stage: Stage) -> set[str]:
    """Name what is in the work queue."""
    with stage.connection() as connection:
        channel = connection.channel()
        found = iter(lambda: channel.basic_get(stage.name)[1], None)
        return {str(properties.message_id) for properties in found}


@pytest.mark.parametrize(
    ("ini", "command", "code"),
    [
        ("", "inspect", 0),
        ("", "check", 0),
        ("", "declare", 0),
        ("", "declare --dry-run", 0),
        ("other", "declare", 0),
        ("", "dead list {queue}", 0),
        ("", "dead show {queue} x", 0),
        ("", "waiting list {queue}", 0),
        ("", "waiting cancel {queue} --id nobody --yes", 1),
        ("", "dead purge {queue} --id y --yes", 0),
        ("", "send {queue} /x --timeout 2", 1),
        ("", "send {queue} /x", 1),
        ("", "send {queue} /x --countdown 5", 1),
        ("managed", "dead replay {queue} --all --yes", 1),
        ("", "dead replay {queue} --all --yes", 1),
        ("", "waiting cancel {queue} --all --yes", 1),
        # What it has given back is there for the next one.
        ("", "dead list {queue} --limit 1", 0),
        ("managed", "check", 1),
    ],
)
def test_every_command_ends_in_time_during_an_alarm(
    alarmed: Stage, ini: str, command: str, code: int
) -> None:
    """What publishes nothing works as ever; what does ends soon, and names the alarm."""
    before = time.monotonic()
    done = run(config(alarmed, ini) if ini else alarmed.path, *command.format(queue=alarmed.name).split())
    told = done.stderr.decode()
    assert done.returncode == code, (done.stdout, told)
    assert time.monotonic() - before < BOUND
    assert "Traceback" not in told
    if code and "check" not in command:
        assert len(told.splitlines()) == 1
    if "send" in command or "--all" in command:
        assert "alarm" in told
        assert "disk" in told
        assert "confirm" in told or "nothing was changed" in told


def test_check_says_what_it_can_not_know_of_an_alarm(alarmed: Stage) -> None:
    """Without the management API nothing tells but a publish."""
    (found,) = [each for each in read(alarmed.path, "check")["checks"] if each["check"] == "alarms"]
    assert (found["state"], found["detail"]) == ("unknown", "over AMQP a broker tells only who publishes")


def test_a_migration_ends_at_an_alarm_and_is_finished_after_it(node: Broker, alarmed: Stage) -> None:
    """Where it is known beforehand nothing is touched; else the tasks stand where the next run finds them."""
    classic, managed = config(alarmed, "classic"), config(alarmed, "managed-classic")
    managed.write_text(f"management_url = {node.management_url}\n{classic.read_text()}")
    migrate = ("declare", "--migrate", "--yes")
    refused = run(managed, *migrate)
    assert (refused.returncode, "nothing was changed" in refused.stderr.decode()) == (1, True)
    before = time.monotonic()
    stopped = run(classic, *migrate)
    assert time.monotonic() - before < BOUND
    last = stopped.stderr.decode().splitlines()[-1]
    assert stopped.returncode == 1
    assert "low on disk" in last
    assert f"stand in {alarmed.name}.moving" in last
    alarm = Alarm(node, "disk")
    alarm.clear()
    try:
        ran(classic, *migrate)
        assert ready(alarmed) >= READY
    finally:
        alarm.set()
