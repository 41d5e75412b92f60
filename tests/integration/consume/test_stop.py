"""How a consumer ends, and what becomes of what it was doing: signals, kills, a broker that goes away."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Answer, Receiver
from tests.support.stage import PATIENCE, Process, Stage, eventually


def test_sigterm_finishes_the_request_and_exits_0(stage: Stage, receiver: Receiver) -> None:
    """It takes no more, settles what runs, and leaves the rest in the queue."""
    # Given a consumer of one thread in the middle of a request, and a second task
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    stage.configure(concurrency=1)
    process = stage.run()
    stage.publish({"url": "/slow"})
    receiver.wait_for(1, path="/slow")
    stage.publish({"url": "/next"})
    # When it is told to stop, and the request ends after that
    process.signal(signal.SIGTERM)
    process.wait_for("stopping")
    release.set()
    # Then it exits 0, the first task is done and the second still there
    assert process.wait() == 0
    assert receiver.to("/next") == []
    eventually(lambda: stage.depth() == 1, "the second task back in the queue")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_sigint_and_sighup_are_the_same(stage: Stage, number: signal.Signals, processes: str) -> None:
    """As Ctrl-C in a terminal, and as a terminal that is closed."""
    process = stage.run("--processes", processes)
    process.signal(number)
    assert process.wait() == 0
    assert "stopped" in process.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_stop_that_comes_before_there_is_anything_to_stop_exits_0(
    tmp_path: Path, number: signal.Signals, processes: str
) -> None:
    """While it declares on a broker that does not answer, and nothing runs yet."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        config = tmp_path / "taskqueue.ini"
        config.write_text(f"server = amqp://127.0.0.1:{silent.getsockname()[1]}/\n[a]\n")
        process = Process("run", "--declare", "--processes", processes, "--config", str(config))
        with silent.accept()[0]:
            process.signal(number)
            assert process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_that_comes_while_it_is_being_loaded_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    """Its modules take a moment to import."""
    config = tmp_path / "taskqueue.ini"
    config.write_text("server = amqp://127.0.0.1:1/\n[a]\n")
    # Python tells of each module that it has imported.
    command = [sys.executable, "-X", "importtime", "-m", "taskqueue", "run", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(re.search(r"\| +typer$", line) for line in process.stderr)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_terminal_that_is_closed_does_not_end_what_was_told_to_stay(
    stage: Stage, receiver: Receiver, processes: str
) -> None:
    """As `nohup` does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = stage.run("--processes", processes)
    finally:
        signal.signal(signal.SIGHUP, before)
    process.signal(signal.SIGHUP)
    stage.publish({"url": "/x"})
    receiver.wait_for(1)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP),
        (signal.SIGTERM, signal.SIGTERM),
    ],
)
def test_signals_that_come_together_are_one_stop(
    stage: Stage, receiver: Receiver, signals: tuple[signal.Signals, ...], processes: str
) -> None:
    """A terminal sends one to the whole group, and who supervises it another: no request is made twice."""
    # Given a request that runs
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    process = stage.run("--processes", processes)
    stage.publish({"url": "/slow"})
    receiver.wait_for(1, path="/slow")
    # When both say stop, a moment apart
    for number in signals:
        process.signal(number)
        time.sleep(0.02)
    process.wait_for("stopping: finishing")
    release.set()
    # Then it finishes what runs
    assert process.wait() == 0
    stage.settle()
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_second_signal_of_who_has_waited_ends_it_at_once_and_loses_nothing(
    stage: Stage, receiver: Receiver, processes: str
) -> None:
    """The broker hands the task out again, with the same id."""
    release = threading.Event()
    receiver.answer("/slow", [Answer(hold=release), 200])
    process = stage.run("--processes", processes)
    stage.publish({"url": "/slow"}, message_id="m")
    receiver.wait_for(1)
    began = time.monotonic()
    process.signal(signal.SIGTERM)
    process.wait_for("stopping")
    assert process.wait_repeating(signal.SIGTERM) == 128 + signal.SIGTERM
    assert time.monotonic() - began >= 1
    stage.run()
    requests = receiver.wait_for(2)
    release.set()
    assert [request.headers["Taskqueue-Id"] for request in requests] == ["m", "m"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("after", ["consumer 1 started", "consumer 2 started", "connected to"])
def test_a_stop_while_the_processes_start_is_a_stop(stage: Stage, number: signal.Signals, after: str) -> None:
    """Wherever they are: exit code 0, and nobody is left."""
    process = Process("run", "--config", str(stage.path), "--processes", "2")
    process.wait_for(after)
    process.signal(number)
    assert process.wait() == 0
    assert "Traceback" not in process.log


def test_no_number_of_stops_makes_a_task_that_was_not_begun_suspect(stage: Stage, receiver: Receiver) -> None:
    """The broker counts what is given back; with a limit of 2, two stops would be the death of it."""
    stage.configure(concurrency=1, delivery_limit=2)
    paths = [f"/slow-{number}" for number in range(3)]
    releases = [threading.Event() for _ in paths]
    for path, release in zip(paths, releases, strict=True):
        receiver.answer(path, Answer(hold=release))
        stage.publish({"url": path})
    stage.publish({"url": "/next"})
    for path, release in zip(paths, releases, strict=True):
        process = stage.run()
        receiver.wait_for(1, path=path)
        process.signal(signal.SIGTERM)
        process.wait_for("stopping")
        release.set()
        assert process.wait() == 0
        assert "runs alone" not in process.log
    process = stage.run()
    receiver.wait_for(1, path="/next")
    assert "runs alone" not in process.log
    stage.settle()
    assert stage.depth(f"{stage.name}.dead") == 0


def test_a_request_that_outlasts_the_grace_is_handed_out_again(stage: Stage, receiver: Receiver) -> None:
    """The grace bounds the stop, not the receiver."""
    release = threading.Event()
    receiver.answer("/slow", [Answer(hold=release), 200])
    process = stage.run("--grace", "0.5")
    stage.publish({"url": "/slow"})
    receiver.wait_for(1)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    stage.run()
    receiver.wait_for(2)
    release.set()


def test_sigkill_in_the_middle_of_a_request_runs_the_task_again(stage: Stage, receiver: Receiver) -> None:
    """At least once, under the same id and the same attempt."""
    release = threading.Event()
    receiver.answer("/x", [Answer(hold=release), 200])
    process = stage.run()
    stage.publish({"url": "/x"}, message_id="m")
    receiver.wait_for(1)
    process.kill()
    stage.run()
    requests = receiver.wait_for(2)
    release.set()
    assert {request.headers["Taskqueue-Id"] for request in requests} == {"m"}
    assert {request.headers["Taskqueue-Attempt"] for request in requests} == {"1"}
    stage.settle()


def test_a_queue_that_is_not_declared_is_said_clearly(stage: Stage) -> None:
    """Exit code 1, and what to run."""
    stage.close()
    process = Process("run", "--config", str(stage.path))
    assert process.wait() == 1
    assert f"NOT_FOUND - no exchange '{stage.name}.wait'" in process.log
    assert "run 'taskqueue declare'" in process.log
    assert "Traceback" not in process.log


def test_run_declares_where_it_is_told_to(stage: Stage, receiver: Receiver) -> None:
    """Both in one command."""
    stage.close()
    stage.run("--declare")
    stage.publish({"url": "/x"})
    receiver.wait_for(1)


def test_waiting_tasks_and_the_consumer_survive_a_restart_of_the_broker(
    private_broker: Broker, own_stage: Stage, receiver: Receiver
) -> None:
    """What is due meanwhile runs afterwards; the consumer connects again by itself."""
    # Given tasks on the ladder and a consumer
    process = own_stage.run()
    sent = time.time()
    own_stage.send("/soon", countdown=2)
    own_stage.send("/later", countdown=12)
    # When the broker is killed and comes back
    private_broker.kill()
    process.wait_for("connection lost")
    private_broker.restart()
    # Then the consumer comes back, and both run, none early
    process.wait_for(f"consuming from {own_stage.name}", times=2)
    # A kill may have one run twice.
    for path, countdown in (("/soon", 2), ("/later", 12)):
        assert receiver.wait_for(1, path=path)[0].at >= sent + countdown
    own_stage.settle()


def test_a_queue_deleted_under_the_consumer_and_declared_again_is_consumed_again(
    stage: Stage, receiver: Receiver
) -> None:
    """It says what is missing, waits, and goes on."""
    process = stage.run()
    with stage.connection() as connection:
        connection.channel().queue_delete(stage.name)
    process.wait_for("is not declared")
    stage.declare()
    process.wait_for(f"consuming from {stage.name}", times=2)
    stage.publish({"url": "/x"})
    receiver.wait_for(1)


def test_no_broker_is_waited_for(stage: Stage) -> None:
    """The consumer starts before the broker does, as after a power cut."""
    stage.path.write_text(stage.path.read_text().replace(stage.settings.servers[0], "amqp://127.0.0.1:9"))
    process = Process("run", "--config", str(stage.path))
    process.wait_for("can't connect to 127.0.0.1:9: Connection refused")
    process.wait_for("next try", times=2)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
