"""Several consumers under one parent: restarts, signals, one metrics page."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
import urllib3

from sandbox.node import free_ports
from sandbox.receiver import Receiver
from tests.support.stage import PATIENCE, Process, Stage, eventually

BUSY = 1.5
"""Seconds that a busy machine may take over one request more than over the next one."""


def children(process: Process) -> list[int]:
    """Read the pids of the consumers from the log, the latest start of each."""
    started = re.findall(r"consumer (\d+) started, pid (\d+)", process.log)
    return [int(pid) for pid in dict(started).values()]


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def start(stage: Stage, count: int, *options: str) -> Process:
    """Run so many consumers, and wait until all consume."""
    process = stage.run("--processes", str(count), *options)
    process.wait_for(f"consuming from {stage.name}", times=count)
    return process


def test_the_work_is_shared_and_sigterm_stops_all(stage: Stage, receiver: Receiver) -> None:
    """Exit code 0, and nobody is left."""
    process = start(stage, 2)
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(50))
    receiver.wait_for(50)
    pids = children(process)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
    assert stage.depth() == 0


def test_a_consumer_that_is_killed_is_started_again(stage: Stage, receiver: Receiver) -> None:
    """The other goes on meanwhile."""
    process = start(stage, 2)
    os.kill(children(process)[0], signal.SIGKILL)
    process.wait_for("died (signal 9)")
    process.wait_for(f"consuming from {stage.name}", times=3)
    stage.publish({"url": "/x"})
    receiver.wait_for(1)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_the_children_end_with_a_parent_that_is_killed(stage: Stage) -> None:
    """None goes on without anyone to stop it."""
    process = start(stage, 2)
    pids = children(process)
    process.kill()
    eventually(lambda: not any(alive(pid) for pid in pids), "the children ended")


def test_what_no_restart_would_mend_ends_all(stage: Stage) -> None:
    """A queue that was never declared is exit code 1."""
    stage.close()
    process = Process("run", "--config", str(stage.path), "--processes", "2")
    assert process.wait() == 1
    assert "is not declared" in process.log


def test_a_fault_that_ends_a_consumer_with_1_is_no_reason_to_end_all(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Python ends with 1 after any exception that nobody catches; that consumer is started again."""
    stage = staged(handlers="tests.faults.poison:Exit", delivery_limit=3)
    process = start(stage, 2)
    stage.publish({"url": "/exit-1", "roll_back": "/rolled"})
    process.wait_for("died (exit code 1)")
    receiver.wait_for(1, path="/rolled")
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "gave up" not in process.log


def test_an_ini_that_is_broken_by_the_time_of_a_restart_ends_all(stage: Stage) -> None:
    """Exit code 2, as at the start: it would be the same each time."""
    process = start(stage, 2)
    stage.path.write_text("nonsense = 1\n" + stage.path.read_text())
    os.kill(children(process)[0], signal.SIGKILL)
    assert process.wait() == 2
    assert "gave up (exit code 2)" in process.log


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("page", [False, True])
def test_a_folder_for_metrics_of_somebody_else_is_left_alone(
    stage: Stage, receiver: Receiver, tmp_path: Path, *, count: int, page: bool
) -> None:
    """A platform sets it for all that it runs, and nobody has made it, or may write there."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    if page:
        stage.path.write_text(f"metrics = {address}\n{stage.path.read_text()}")
    folder = tmp_path / "of-another"
    for there in (False, True):
        if there:
            folder.mkdir()
        process = Process(
            "run", "--config", str(stage.path), "--processes", str(count),
            environment={"PROMETHEUS_MULTIPROC_DIR": str(folder)},
        )  # fmt: skip
        try:
            process.wait_for(f"consuming from {stage.name}", times=count)
            stage.publish({"url": "/x"})
            receiver.wait_for(2 if there else 1)
            if page:
                done = f'taskqueue_attempts_total{{outcome="done",queue="{stage.name}",response="2xx"}} 1.0'
                text = f"http://{address}/metrics"
                eventually(lambda: done in urllib3.request("GET", text).data.decode(), "one done")  # noqa: B023
        finally:
            process.stop()
        assert process.wait() == 0
        assert "died" not in process.log
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("count", [1, 2])
def test_there_is_one_metrics_page(staged: Callable[..., Stage], receiver: Receiver, count: int) -> None:
    """It adds the processes up."""
    (port,) = free_ports(1)
    stage = staged()
    stage.path.write_text(f"metrics = 127.0.0.1:{port}\n{stage.path.read_text()}")
    receiver.answer("/bad", 500)
    start(stage, count)
    for url in ("/a", "/b", "/bad"):
        stage.publish({"url": url, "max_retries": 1})
    stage.dead()
    receiver.wait_for(3)

    def page() -> str:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()

    labels = f'queue="{stage.name}"'
    done = f'taskqueue_attempts_total{{outcome="done",{labels},response="2xx"}} 2.0'
    eventually(lambda: done in page(), "two done")
    eventually(lambda: f'taskqueue_dead_total{{{labels},reason="failed"}} 1.0' in page(), "one dead")
    eventually(lambda: f"taskqueue_running{{{labels}}} 0.0" in page(), "none running")
    eventually(lambda: f"taskqueue_consuming{{{labels}}} {count}.0" in page(), "all consume")
    text = page()
    assert f"taskqueue_lateness_seconds_count{{{labels}}} 3.0" in text
    assert "taskqueue_broker_connected 1.0" in text
    assert f'taskqueue_build_info{{version="{version("taskqueue")}"}} 1.0' in text
    assert "pid=" not in text


def test_a_rate_is_shared_among_the_processes(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """Two processes at 20 a second in all; if each had them, 100 would come in half of the time."""
    stage = staged(rate="20/s")
    start(stage, 2)
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(100))
    times = sorted(request.at for request in receiver.wait_for(100, PATIENCE))
    for first in range(len(times)):
        for last in range(first + 1, len(times)):
            assert last - first <= 20 * (times[last] - times[first]) + 4 + 20 * BUSY
