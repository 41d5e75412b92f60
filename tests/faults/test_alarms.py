"""A broker that takes no publishes: consumer and client say so, and wait no longer than they were told to."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from sandbox.node import Broker, free_ports
from sandbox.receiver import Answer, Receiver
from taskqueue.broker import link
from tests.support.alarms import ALARMS, Alarm
from tests.support.command import read
from tests.support.stage import PATIENCE, Stage, eventually


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Give what finds the log's lines with a text; reminders come quickly."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(link, "_REMINDER", 0.5)

    def lines(text: str) -> list[str]:
        return [record.getMessage() for record in caplog.records if text in record.getMessage()]

    return lines


@pytest.mark.parametrize("name", ALARMS)
@pytest.mark.parametrize("begins", ["before the consumer", "while it runs"])
def test_a_consumer_tells_of_an_alarm_until_it_is_over(
    private_broker: Broker, own_stage: Stage, told: Callable[[str], list[str]], name: str, begins: str
) -> None:
    """What it means at once, that it lasts now and then, and when it is over; then the retry runs."""
    receiver = own_stage.receiver
    release = threading.Event()
    receiver.answer("/x", [Answer(500, hold=release), 200])
    own_stage.publish({"url": "/x"})
    try:
        if begins == "while it runs":
            own_stage.consume()
            receiver.wait_for(1, timeout=PATIENCE)
        with Alarm(private_broker, name):
            if begins != "while it runs":
                own_stage.consume()
            release.set()
            eventually(lambda: len(told("still takes no publishes")) >= 2, "two reminders")
            (first,) = told("the broker takes no publishes")
            assert name in first
            assert "nothing is lost" in first
            assert "retries" in first
        receiver.wait_for(2, timeout=PATIENCE)
        assert len(told("takes publishes again")) == 1
        lasted = len(told("still takes no publishes"))
        receiver.closing.wait(1.5)
        assert len(told("still takes no publishes")) == lasted
    finally:
        release.set()


@pytest.fixture
def managed(receiver: Receiver, tmp_path: Path) -> Iterator[tuple[Broker, Stage]]:
    """Give a node of this test's own that has the management API, and a queue on it."""
    with Broker.start(management=True) as node:
        stage = Stage(node.url, receiver, tmp_path).declare()
        try:
            yield node, stage
        finally:
            stage.close()


def test_metrics_inspect_and_check_show_an_alarm(managed: tuple[Broker, Stage]) -> None:
    """The metric by what the connection is told, the commands by the management API."""
    node, stage = managed
    (port,) = free_ports(1)
    path = stage.path
    first = f"management_url = {node.management_url}\nmetrics = 127.0.0.1:{port}\n"
    path.write_text(first + path.read_text(encoding="utf-8"), encoding="utf-8")
    release = threading.Event()
    stage.receiver.answer("/x", [Answer(500, hold=release), 200])

    def metric() -> float:
        page = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
        (line,) = (line for line in page.splitlines() if line.startswith("taskqueue_broker_blocked "))
        return float(line.split()[1])

    stage.publish({"url": "/x"})
    try:
        stage.run()
        stage.receiver.wait_for(1, timeout=PATIENCE)
        assert metric() == 0
        assert read(path, "inspect", "--json")["alarms"] == []
        with Alarm(node, "disk"):
            release.set()
            eventually(lambda: metric() == 1, "the metric")
            named = [f"disk alarm on {node.node}"]
            eventually(lambda: read(path, "inspect", "--json")["alarms"] == named, "the alarm in inspect")
            failed = [each for each in read(path, "check", "--json", code=1)["checks"] if not each["ok"]]
            assert [(each["check"], each["detail"]) for each in failed] == [("alarms", named[0])]
        eventually(lambda: metric() == 0, "the metric")
        stage.receiver.wait_for(2, timeout=PATIENCE)
    finally:
        release.set()


def test_a_send_takes_no_longer_than_its_timeout(private_broker: Broker, own_stage: Stage) -> None:
    """Nor does it wait for a goodbye that a broker with an alarm does not read."""
    arguments = ["send", own_stage.name, "/x", "--config", str(own_stage.path)]

    def send(timeout: float, *more: str) -> tuple[float, subprocess.CompletedProcess[str]]:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "taskqueue", *arguments, "--timeout", str(timeout), *more],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return time.monotonic() - began, done

    usual, sent = send(30)
    assert sent.returncode == 0
    with Alarm(private_broker, "disk"):
        took, failed = send(4, "--json")
    assert failed.returncode == 1
    assert "alarm" in failed.stderr
    assert failed.stderr.count("\n") == 1
    said = json.loads(failed.stdout)
    assert (said["queue"], said["confirmed"]) == (own_stage.name, False)
    assert f"with the same id, {said['id']}, as it may run all the same" in failed.stderr
    # Nothing but its timeout and what a command takes anyway; a goodbye would be another 5 s.
    assert took < 4 + usual + 3


def test_a_stop_in_an_alarm_ends_long_before_its_grace(private_broker: Broker, own_stage: Stage) -> None:
    """That the queue stands still was told, and how many tasks run again is told at the end; they do."""
    receiver, release = own_stage.receiver, threading.Event()
    receiver.answer("/x", Answer(500, hold=release))
    process = own_stage.run("--grace", "500")
    for number in range(4):
        own_stage.publish({"url": "/x"}, message_id=f"m-{number}")
    try:
        receiver.wait_for(4, timeout=PATIENCE)
        with Alarm(private_broker, "disk"):
            release.set()
            process.wait_for("stands still, as 4 tasks wait to be settled")
            process.signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        assert "4 tasks have run and go back to the queue, where they run again" in process.log
        assert "event=retried" not in process.log
    finally:
        release.set()
    receiver.answer("/x", 200)
    own_stage.run()
    receiver.wait_for(8, timeout=PATIENCE)
