"""A broker that refuses what is to follow from a task: it is held, runs no second time, and is there once."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox.receiver import Receiver
from taskqueue.topology import names
from tests.support.admin import Admin
from tests.support.stage import PATIENCE, Process, Stage, eventually

REFUSED = "the broker refuses what is to go to exchange"
COUNT = 5
"""Tasks that fail at once."""


@pytest.fixture
def stage(admin: Admin, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give one declared queue in it."""
    stage = Stage(admin.url, receiver, tmp_path).declare()
    yield stage
    stage.stop()


def consumer(stage: Stage, url: str) -> Process:
    """Run a consumer as another user."""
    path = stage.path.with_name("other.ini")
    path.write_text(stage.path.read_text().replace(stage.settings.servers[0], url))
    process = Process("run", "--config", str(path))
    process.wait_for(f"consuming from {stage.name}")
    return process


def tried_in_vain(process: Process, stage: Stage, receiver: Receiver) -> None:
    """Wait until the broker has refused something, and until others have run behind it."""
    process.wait_for(REFUSED)
    already = len(receiver.to("/fine"))
    stage.publish({"url": "/fine"})
    receiver.wait_for(already + 1, path="/fine", timeout=PATIENCE)


WITHHELD: dict[str, Callable[[str], str]] = {"retry": names.wait, "dead": names.dead, "roll_back": names.due}
"""The exchange that is not the user's to write to, by what it is for."""


@pytest.mark.parametrize("what", WITHHELD)
def test_a_settlement_that_is_refused_is_held_until_it_is_not(
    admin: Admin, stage: Stage, receiver: Receiver, what: str
) -> None:
    """One request an attempt, one dead copy, one roll_back; the broker's words once; the others run."""
    everything = ".*"
    most = f"^(?!{re.escape(WITHHELD[what](stage.name))}$)"
    url = admin.user(everything, everything, everything)
    user = str(urlsplit(url).username)
    receiver.answer("/x", lambda request: 500 if request.headers["Taskqueue-Attempt"] == "1" else 200)
    process = consumer(stage, url)
    admin.allow(user, everything, most, everything)
    task = {"url": "/x"} if what == "retry" else {"url": "/x", "max_retries": 1, "roll_back": "/sorry"}
    for number in range(COUNT):
        stage.publish(task, message_id=f"m-{number}")
    receiver.wait_for(COUNT, path="/x", timeout=PATIENCE)
    tried_in_vain(process, stage, receiver)
    tried_in_vain(process, stage, receiver)
    assert len(receiver.to("/x")) == COUNT
    admin.allow(user, everything, everything, everything)
    process.wait_for("takes what is to go there again")
    if what == "retry":
        receiver.wait_for(2 * COUNT, path="/x", timeout=PATIENCE)
    else:
        receiver.wait_for(COUNT, path="/sorry", timeout=PATIENCE)
    process.stop()
    stage.settle()
    attempts = sorted(
        (each.headers["Taskqueue-Id"], each.headers["Taskqueue-Attempt"]) for each in receiver.to("/x")
    )
    every = [f"m-{number}" for number in range(COUNT)]
    assert attempts == sorted(
        (name, str(run)) for name in every for run in range(1, 3 if what == "retry" else 2)
    )
    assert len(receiver.to("/sorry")) == (0 if what == "retry" else COUNT)
    if what != "retry":
        assert stage.depth(names.dead(stage.name)) == COUNT
        assert sorted(str(properties.message_id) for _, _, properties in stage.dead(COUNT)) == every
    (line,) = [line for line in process.lines if REFUSED in line]
    # RabbitMQ 4 says which access.
    assert re.search(
        f"ACCESS_REFUSED - (write )?access to exchange '{re.escape(WITHHELD[what](stage.name))}'", line
    )
    assert "give the user write permission on it" in line
    assert "opening it again" not in process.log
    assert "connection lost" not in process.log


LACKING: dict[str, tuple[Callable[[str], str], str]] = {
    "retry": (names.wait, "write"),
    "dead": (names.dead, "write"),
    "roll_back": (names.due, "write"),
    "pause": (names.control, "write"),
    "reading": (str, "read"),
}
"""What the user may not use, and for what it would be needed."""


@pytest.mark.parametrize("what", LACKING)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_consumer_that_could_settle_nothing_or_not_be_paused_ends_before_it_takes_a_task(
    admin: Admin, stage: Stage, receiver: Receiver, what: str, processes: str
) -> None:
    """By one line that names what lacks; the task is there for whoever may."""
    name, kind = LACKING[what]
    most = f"^(?!{re.escape(name(stage.name))}$)"
    url = admin.user("^$", most if kind == "write" else ".*", most if kind == "read" else ".*")
    stage.publish({"url": "/x"}, message_id="m")
    path = stage.path.with_name("other.ini")
    path.write_text(stage.path.read_text().replace(stage.settings.servers[0], url))
    process = Process("run", "--config", str(path), "--processes", processes)
    assert process.wait() == 1
    told = [line for line in process.lines if line.startswith("taskqueue: ")]
    assert told
    assert f"'{name(stage.name)}'" in told[0]
    assert f"{kind} permission on {stage.name}" in told[0]
    assert receiver.requests == []
    assert stage.depth() == 1


def refused_by_other(stage: Stage, admin: Admin, **keys: str) -> tuple[Process, str]:
    """Run a consumer of two queues that may not publish to `other` any more, and give it and its user."""
    stage.configure({"other": {"base_url": stage.receiver.url, **keys}})
    stage.declare()
    url = admin.user(".*", ".*", ".*")
    user = str(urlsplit(url).username)
    process = consumer(stage, url)
    process.wait_for("consuming from other")
    admin.allow(user, ".*", rf"^(?!{re.escape(names.due('other'))}$)", ".*")
    return process, user


def test_a_task_for_a_queue_that_is_refused_for_now_is_held_and_runs_there_once(
    admin: Admin, stage: Stage, receiver: Receiver
) -> None:
    """It has not run, so nobody is told that it has failed."""
    process, user = refused_by_other(stage, admin)
    stage.publish({"url": "/moved", "queue": "other", "roll_back": "/sorry"}, message_id="m")
    tried_in_vain(process, stage, receiver)
    admin.allow(user, ".*", ".*", ".*")
    receiver.wait_for(1, path="/moved", timeout=PATIENCE)
    process.stop()
    assert len(receiver.to("/moved")) == 1
    assert receiver.to("/sorry") == []
    assert stage.depth(names.dead(stage.name)) == 0


def test_a_task_of_another_queue_that_is_refused_there_for_now_never_runs_here(
    admin: Admin, stage: Stage, receiver: Receiver
) -> None:
    """It had found no way on the ladder that both share, and waits on it until its own queue takes it."""
    process, user = refused_by_other(stage, admin, ladder=stage.name)
    stage.publish_astray({"url": "/moved"}, "other", message_id="m")
    process.wait_for("what names queue other can't be moved there")
    admin.allow(user, ".*", ".*", ".*")
    (request,) = receiver.wait_for(1, path="/moved", timeout=PATIENCE)
    process.stop()
    assert request.headers["Taskqueue-Queue"] == "other"
    assert stage.depth(names.dead(stage.name)) == 0


MANY = 40
"""Tasks that are held; more than a consumer of one thread ever had unacked."""


def held_by(stage: Stage, admin: Admin, receiver: Receiver) -> tuple[Process, str]:
    """Run a consumer of one thread that holds `MANY` dead tasks, and give it and its user."""
    stage.configure(concurrency=1)
    everything = ".*"
    url = admin.user(everything, everything, everything)
    user = str(urlsplit(url).username)
    receiver.answer("/x", 500)
    process = consumer(stage, url)
    admin.allow(user, everything, f"^(?!{re.escape(names.dead(stage.name))}$)", everything)
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name, "max_retries": 1} for _ in range(MANY))
    receiver.wait_for(MANY, path="/x", timeout=PATIENCE)
    return process, user


def test_what_is_held_takes_no_place_from_others(admin: Admin, stage: Stage, receiver: Receiver) -> None:
    """However many are, the next one runs; each is dead once, as soon as it may be."""
    process, user = held_by(stage, admin, receiver)
    tried_in_vain(process, stage, receiver)
    assert len(receiver.to("/x")) == MANY
    admin.allow(user, ".*", ".*", ".*")
    eventually(lambda: stage.depth(names.dead(stage.name)) == MANY, "all of them are dead")
    process.stop()
    stage.settle()
    assert len(receiver.to("/x")) == MANY
    assert "go back to the queue" not in process.log


def test_a_stop_does_not_wait_for_what_is_refused(admin: Admin, stage: Stage, receiver: Receiver) -> None:
    """It ends long before its grace, tells how many run again, and they do."""
    process, user = held_by(stage, admin, receiver)
    process.wait_for(REFUSED)
    process.signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert f"{MANY} tasks have run and go back to the queue, where they run again" in process.log
    assert "not everything ended" not in process.log
    assert stage.depth() == MANY
    admin.allow(user, ".*", ".*", ".*")
    stage.run()
    receiver.wait_for(2 * MANY, path="/x", timeout=PATIENCE)
    stage.settle()
    assert stage.depth(names.dead(stage.name)) == MANY


def test_a_stop_settles_what_may_be_settled_by_then(admin: Admin, stage: Stage, receiver: Receiver) -> None:
    """It tries once more, at once, whenever the next try was to be."""
    process, user = held_by(stage, admin, receiver)
    process.wait_for(REFUSED)
    admin.allow(user, ".*", ".*", ".*")
    process.signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert "go back to the queue" not in process.log
    assert stage.depth() == 0
    assert stage.depth(names.dead(stage.name)) == MANY
    assert len(receiver.to("/x")) == MANY


def test_a_consumer_with_the_rights_that_check_asks_for_settles_all(
    admin: Admin, stage: Stage, receiver: Receiver
) -> None:
    """Nothing that it does takes more."""
    rights = f"^{re.escape(stage.name)}(\\..*)?$"
    receiver.answer("/x", 500)
    process = consumer(stage, admin.user(rights, rights, rights))
    stage.publish({"url": "/x", "max_retries": 2, "roll_back": "/sorry"}, message_id="m")
    receiver.wait_for(1, path="/sorry", timeout=PATIENCE)
    process.stop()
    stage.settle()
    assert [request.path for request in receiver.requests] == ["/x", "/x", "/sorry"]
    assert stage.depth(names.dead(stage.name)) == 1
    assert " error " not in "\n".join(line for line in process.lines if "reason=failed" not in line)
