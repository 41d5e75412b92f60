"""`taskqueue inspect` on a real broker: counts, exit codes, and a screen that outlives the broker."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from sandbox.broker import Broker, Server
from sandbox.receiver import Answer, Receiver
from tests.support import command
from tests.support.stage import Process, Stage, eventually


def test_every_count_is_where_it_belongs(stage: Stage) -> None:
    """Ready in the work queue, waiting on the ladder by rung, dead in the dead queue."""
    stage.send("/now")
    for countdown in (20, 30, 80):
        stage.send("/later", countdown=countdown)
    found = command.read(stage.path, "inspect")
    spans = [{"from": 0, "to": end, "count": 1} for end in (30, 40)] + [{"from": 0, "to": 90, "count": 1}]
    numbers = {"waiting": 3, "due": {"minute": 2, "hour": 1, "later": 0, "spans": spans}, "held": None}
    (queue,) = found["queues"]
    assert queue.pop("why") == ["no consumer is there: start `taskqueue run`"]
    assert queue.pop("forecast")["hour"] == 4
    assert queue == {
        "name": stage.name, "declared": True, "ready": 1, "unacked": None, **numbers, "dead": 0,
        "paused": False, "consumers": 0, "rates": {"in": None, "out": None}, "lateness": None,
        "ladder": stage.name, "missing": [], "unknown": [],
    }  # fmt: skip
    assert found["ladders"] == [{"name": stage.name, **numbers, "lost": None, "lateness": None}]
    assert stage.name in command.ran(stage.path, "inspect", stage.name)


def test_prometheus_reads_what_is_known_and_what_comes_due(stage: Stage) -> None:
    """Nothing else on standard output, and the exit code of any look; it is one form of three."""
    stage.send("/now")
    stage.send("/later", countdown=80)
    printed = command.ran(stage.path, "inspect", "--prometheus")
    found = {
        (sample.name.removeprefix("taskqueue_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(printed)
        for sample in family.samples
    }
    assert found["queue_tasks", stage.name, "ready"] == 1
    assert found["ladder_tasks", stage.name, "waiting"] == found["ladder_due_tasks", stage.name, "600"] == 1
    assert found["ladder_due_tasks", stage.name, "60"] == 0
    assert ("queue_tasks", stage.name, "unacked") not in found, "it is not known without management_url"
    assert found["queue_known", stage.name] == 1
    command.ran(stage.path, "inspect", "--prometheus", "--json", code=2)


def test_a_shared_ladder_is_counted_for_itself(staged: Callable[..., Stage]) -> None:
    """Its tasks are those of all its queues: none of them is charged with the others'."""
    stage = staged(ladder="of-all")
    try:
        stage.send("/now")
        stage.send("/later", countdown=20)
        found = command.read(stage.path, "inspect")
        (queue,), (ladder,) = found["queues"], found["ladders"]
        assert (queue["ladder"], queue["ready"], queue["waiting"], queue["declared"]) == (
            "of-all",
            1,
            None,
            True,
        )
        assert (ladder["name"], ladder["waiting"], ladder["due"]["minute"], ladder["lost"]) == (
            "of-all",
            1,
            1,
            0,
        )
        assert "ladder of-all" in command.ran(stage.path, "inspect")
    finally:
        stage.close()


def test_tasks_on_rungs_of_a_former_ladder_are_counted_where_they_are_listed(
    broker: Server, stage: Stage
) -> None:
    """The management API knows of them; AMQP alone can't."""
    stage.send("/x", countdown=0.7)
    with stage.connection() as connection:
        rung = f"{stage.name}.wait.5000s"
        connection.channel().queue_declare(rung, durable=True)
        connection.channel().basic_publish("", rung, b"{}")
        stage.path.write_text(f"management_url = {broker.management_url}\n{stage.path.read_text()}")
        try:
            eventually(
                lambda: command.read(stage.path, "inspect")["queues"][0]["due"]["later"] == 1, "it is counted"
            )
        finally:
            connection.channel().queue_delete(rung)


def test_what_runs_is_counted_by_the_management_api(broker: Server, stage: Stage, receiver: Receiver) -> None:
    """AMQP does not tell; consumers it does."""
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    stage.consume()
    stage.publish({"url": "/slow"})
    receiver.wait_for(1)
    assert broker.management_url is not None
    stage.path.write_text(f"management_url = {broker.management_url}\n{stage.path.read_text()}")

    def one_is_running() -> bool:
        (queue,) = command.read(stage.path, "inspect")["queues"]
        return (queue["unacked"], queue["consumers"]) == (1, 1)

    eventually(one_is_running, "one unacked message and one consumer")
    release.set()


def test_what_the_broker_cannot_hand_on_is_held(broker: Server, stage: Stage) -> None:
    """It has left its wait queue's ready messages, and came nowhere."""
    assert broker.management_url is not None
    stage.path.write_text(f"management_url = {broker.management_url}\n{stage.path.read_text()}")
    with stage.connection() as connection:
        connection.channel().exchange_delete(f"{stage.name}.wait.0.1s")
    stage.send("/x", countdown=0.3)

    def one_is_held() -> bool:
        (queue,) = command.read(stage.path, "inspect", code=1)["queues"]
        return (queue["waiting"], queue["held"]) == (0, 1)

    eventually(one_is_held, "one message held")
    told = command.run(stage.path, "inspect").stderr.decode()
    assert f"{stage.name}: 1 held by the broker, though their wait is over: it tries again within 3 " in told
    checked = command.read(stage.path, "check", code=1)["checks"]
    (held,) = [each for each in checked if each["check"] == "held"]
    assert held["detail"] == f"1 on ladder {stage.name}, though their wait is over"


def test_what_a_look_holds_is_not_missing(broker: Server, stage: Stage) -> None:
    """The management API counts it. Without that nobody knows, and nothing is taken for zero."""
    for _ in range(3):
        stage.send("/later", countdown=80)
    text = stage.path.read_text()
    with stage.connection() as connection:
        channel = connection.channel()
        channel.basic_consume(f"{stage.name}.wait.80s", lambda *_: None)
        connection.process_data_events(time_limit=0)

        def unknown() -> bool:
            done = command.run(stage.path, "inspect", "--json")
            (queue,) = json.loads(done.stdout)["queues"]
            told = b"somebody looks through" in done.stderr
            return told and (done.returncode, queue["waiting"]) == (1, None)

        eventually(unknown, "it is held, and not known how many")
        stage.path.write_text(f"management_url = {broker.management_url}\n{text}")
        eventually(
            lambda: (
                command.run(stage.path, "inspect").returncode == 0
                and command.read(stage.path, "inspect")["queues"][0]["waiting"] == 3
            ),
            "what is held is counted",
        )


def test_one_queue_is_told_in_words_and_many_are_sorted_and_summed(stage: Stage) -> None:
    """With the most first; those with nothing in them are left out of many."""
    stage.send("/later", countdown=80)
    stage.send("/now")
    told = command.ran(stage.path, "inspect", stage.name)
    assert "due at the latest (each may be due sooner)" in told
    assert "2 or more are due within the hour" in told
    assert "no consumer is there: start `taskqueue run`" in told
    # All the same to the broker: queues of another ini on this ladder, of which nothing is declared.
    stage.configure(others={f"a-{number}": {"ladder": stage.name} for number in range(12)})
    done = command.run(stage.path, "inspect", "--sort", "ready")
    lines = done.stdout.decode().splitlines()
    assert lines[1].split()[0] == stage.name
    assert lines[-1].split()[:2] == ["all", "13"]
    assert len(lines) == 15, "what is not declared is not left out"


def test_a_management_api_that_is_not_there_leaves_unacked_unknown(stage: Stage) -> None:
    """Said on standard error, without the password; the rest is known all the same."""
    stage.path.write_text(f"management_url = http://me:secret@127.0.0.1:9\n{stage.path.read_text()}")
    done = command.run(stage.path, "inspect")
    assert done.returncode == 0
    told = b"unacked and held are unknown: the management API at http://127.0.0.1:9 can't be reached"
    assert told in done.stderr
    assert b"secret" not in done.stderr


def test_what_is_not_declared_is_named_and_exits_1(stage: Stage) -> None:
    """A queue of another section that nobody has declared, one wait queue and one exchange of this one."""
    stage.configure(others={"missing": {}})
    with stage.connection() as connection:
        connection.channel().queue_delete(f"{stage.name}.wait.20s")
        connection.channel().exchange_delete(f"{stage.name}.wait")
    present, absent = command.read(stage.path, "inspect", code=1)["queues"]
    assert present["declared"] is absent["declared"] is False
    assert set(present["missing"]) == {f"queue {stage.name}.wait.20s", f"exchange {stage.name}.wait"}
    assert (present["ready"], present["waiting"]) == (0, 0)
    assert (absent["ready"], absent["waiting"], absent["due"]["hour"], absent["dead"]) == (None,) * 4
    assert b"run `taskqueue declare`" in command.run(stage.path, "inspect").stderr


def test_only_the_named_queues_are_looked_at(stage: Stage) -> None:
    """A name that is not configured is bad usage."""
    stage.configure(others={"missing": {}})
    command.ran(stage.path, "inspect", stage.name)
    command.ran(stage.path, "inspect", "nope", code=2)


def test_more_dead_tasks_than_allowed_exit_1(stage: Stage) -> None:
    """For a monitor that knows exit codes only."""
    with stage.connection() as connection:
        channel = connection.channel()
        for _ in range(2):
            channel.basic_publish("", f"{stage.name}.dead", b"{}")
    command.ran(stage.path, "inspect", "--max-dead", "2")
    command.ran(stage.path, "inspect", "--max-dead", "1", code=1)


def test_no_broker_exits_3(tmp_path: Path) -> None:
    """With one line on standard error, and nothing that looks like an answer."""
    config = tmp_path / "taskqueue.ini"
    config.write_text("server = amqp://guest:guest@127.0.0.1:9/\n[mail]\n")
    done = command.run(config, "inspect", "--json")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"taskqueue: no broker at 127.0.0.1:9")


def test_watch_outlives_the_broker_and_ends_on_ctrl_c_with_0(private_broker: Broker, tmp_path: Path) -> None:
    """It says that the broker is away, and goes on once it is back."""
    config = tmp_path / "taskqueue.ini"
    config.write_text(f"server = {private_broker.url}\nlevels = 1\nqueue_type = classic\n[mail]\n")
    command.ran(config, "declare")
    screen = Process("inspect", "--watch", "--interval", "0.2", "--config", str(config))
    try:
        screen.wait_for("consumers")
        private_broker.kill()
        screen.wait_for("trying again")
        seen = len(screen.lines)
        private_broker.restart()
        eventually(lambda: any("consumers" in line for line in screen.lines[seen:]), "counts again")
        screen.signal(signal.SIGINT)
        assert screen.wait() == 0, screen.log
    finally:
        screen.kill()
