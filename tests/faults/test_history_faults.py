"""The history when its stream is silent, gone, or cut off with its broker: tasks never wait for it.

What an operator did is waited for, by the command that did it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue import events
from taskqueue.broker.session import connected, run
from taskqueue.errors import TaskqueueError
from taskqueue.events import Event
from taskqueue.history import acts, recorder
from taskqueue.history.search import Answer, find
from taskqueue.settings import Settings, load
from tests.support.command import ran
from tests.support.command import run as command
from tests.support.stage import PATIENCE, Stage, eventually

STREAM = "taskqueue.history"


@pytest.fixture
def kept(private_broker: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give a queue with a history on a node of its own."""
    stage = Stage(private_broker.url, receiver, tmp_path)
    stage.path.write_text("history = 1d\n" + stage.path.read_text())
    ran(stage.path, "declare")
    private_broker.sync()
    yield stage
    stage.stop()


@contextmanager
def silent(broker: Broker) -> Iterator[None]:
    """Suspend the writer of the stream of records for a ``with`` block."""
    lookup = f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{STREAM}">>))'
    broker.eval(f"{lookup}, sys:suspend(amqqueue:get_pid(Q)).")
    try:
        yield
    finally:
        broker.eval(f"{lookup}, sys:resume(amqqueue:get_pid(Q)).")


def found(settings: Settings, task_id: str) -> Answer:
    """Ask the history; nothing while it does not answer."""

    async def work() -> Answer:
        async with connected(settings, name="test") as session:
            return await find(session, frozenset({task_id}), time.time(), lambda _: None)

    try:
        return run(work())
    except TaskqueueError:
        return Answer((), 0, 0)


@pytest.mark.slow
def test_a_silent_stream_stops_no_task_and_what_is_dropped_is_told(
    kept: Stage, private_broker: Broker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks run on; what is over the bound is counted; afterwards it is written again, and tells its gap."""
    # Given a recorder that keeps ten records, and a consumer
    monkeypatch.setattr(recorder, "KEPT", 10)
    monkeypatch.setattr(recorder, "_CONFIRMING", 2.0)
    monkeypatch.setattr(recorder, "_LEAVING", PATIENCE)
    settings = load(kept.path)
    dropped: list[int] = []
    told = threading.Event()

    def lost(count: int) -> None:
        dropped.append(count)
        told.set()

    with recorder.recording(settings, lost) as (hear,):
        hear(Event(events.DONE, kept.name, "before", 1))
        eventually(lambda: len(found(settings, "before").records) == 1, "the first record")
        kept.run()
        with silent(private_broker):
            # When much happens while the stream is silent
            for number in range(40):
                hear(Event(events.DONE, kept.name, f"t{number}", 1))
            tasks = [kept.send("/x") for _ in range(20)]
            # Then tasks run
            receiver.wait_for(len(tasks))
            assert told.wait(60), "what was dropped is told while nothing can be written"
        # And the history goes on, with its gap told
        hear(Event(events.DONE, kept.name, "after", 1))
        eventually(lambda: len(found(settings, "after").records) == 1, "a record after the silence")
    assert sum(dropped) >= 40 - 2 * 10
    answer = found(settings, "t0")
    assert [each["id"] for each in answer.records] == ["t0"]
    assert answer.dropped == sum(dropped)


@pytest.mark.slow
def test_a_command_waits_until_what_it_did_is_recorded(
    kept: Stage, private_broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than a consumer that ends, also where a first try has failed; not where it did nothing."""
    # Given a stream that is silent for longer than a try takes, and no patience where nothing is recorded
    monkeypatch.setattr(recorder, "_LEAVING", 0.0)
    monkeypatch.setattr(recorder, "_PATIENCE", 4 * PATIENCE)
    monkeypatch.setattr(recorder, "_CONFIRMING", 1.0)
    settings = load(kept.path)
    told: list[str] = []
    acted, failed = threading.Event(), threading.Event()
    failing = recorder.Recorder._failed

    def fails(self: recorder.Recorder, error: Exception) -> None:
        failing(self, error)
        monkeypatch.setattr(recorder, "_CONFIRMING", PATIENCE)
        failed.set()

    monkeypatch.setattr(recorder.Recorder, "_failed", fails)

    def work() -> None:
        with acts.noted(settings, events.HASTENED, kept.name, tell=told.append) as note:
            note("task")
            acted.set()

    command = threading.Thread(target=work)
    with silent(private_broker):
        # When a command does something meanwhile, and another one does nothing
        with acts.noted(settings, events.HASTENED, kept.name, tell=told.append):
            pass
        command.start()
        assert acted.wait(PATIENCE)
        assert failed.wait(PATIENCE)
    command.join(PATIENCE)
    # Then it ends once the record is there, and nothing is told to be lost
    assert not command.is_alive()
    assert [each["event"] for each in found(settings, "task").records] == ["hastened"]
    assert told == []


@pytest.mark.slow
def test_a_stream_that_is_deleted_under_a_consumer_stops_no_task(kept: Stage, receiver: Receiver) -> None:
    """It is said; once it is declared again, what has happened meanwhile is in it."""
    process = kept.run()
    kept.send("/x")
    receiver.wait_for(1)
    # When somebody deletes it
    with kept.connection() as connection:
        connection.channel().queue_delete(STREAM)
    during = kept.send("/x")
    receiver.wait_for(2)
    process.wait_for("history: can't be written")
    # Then all goes on, and nothing was lost but what was deleted
    ran(kept.path, "declare")
    process.wait_for("history: records are written again; 0 were dropped")
    eventually(lambda: [each["event"] for each in read_history(kept, during)] == ["done"], "its record")


@pytest.mark.slow
def test_a_kill_of_consumer_and_broker_costs_no_record_that_was_confirmed(
    kept: Stage, private_broker: Broker, receiver: Receiver
) -> None:
    """Also what no entry of the index knows of, as its writer was killed before it wrote one."""
    # Given a record in the stream
    process = kept.run()
    task = kept.send("/x")
    receiver.wait_for(1)
    eventually(
        lambda: [each["event"] for each in read_history(kept, task)] == ["done"], "the record of the task"
    )
    # When both are killed
    process.kill()
    private_broker.kill()
    private_broker.restart()
    # Then it is there
    eventually(lambda: [each["event"] for each in read_history(kept, task)] == ["done"], "the same record")
    # And a consumer goes on with it
    kept.run()
    second = kept.send("/x")
    eventually(lambda: [each["event"] for each in read_history(kept, second)] == ["done"], "the next record")


@pytest.mark.slow
def test_a_broker_whose_streams_are_switched_off_is_told_so(tmp_path: Path) -> None:
    """As an upgraded one may be: `declare` says what to do, and the tasks need none of it."""
    # Given a node with that feature flag off
    node = Broker()
    node._environment["RABBITMQ_FEATURE_FLAGS"] = "quorum_queue,virtual_host_metadata,user_limits"
    config = tmp_path / "taskqueue.ini"
    try:
        node.restart()
        if "stream_queue\tdisabled" not in node.ctl("list_feature_flags"):
            pytest.skip("this RabbitMQ has streams always")
        config.write_text(f"server = {node.url}\nlevels = 1\nhistory = 7d\n[mail]\n")
        # When it is to have a history
        refused = command(config, "declare")
        config.write_text(f"server = {node.url}\nlevels = 1\n[mail]\n")
        ran(config, "declare")
    finally:
        node.stop()
    # Then one line says what to do
    assert refused.returncode == 1
    assert "rabbitmqctl enable_feature_flag stream_queue" in refused.stderr.decode()


def read_history(stage: Stage, task_id: str) -> list[dict[str, object]]:
    """Give the records of a task, none while the broker does not tell."""
    return list(found(load(stage.path), task_id).records)
