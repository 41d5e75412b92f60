"""Acts on the page: each is counted, asked, and done once; none is done without the token and its form."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pika
import pytest

from sandbox.receiver import Receiver
from taskqueue.settings import load
from tests.support import command
from tests.support.admin import Admin
from tests.support.stage import Stage, eventually
from tests.support.timetable import HOURLY, NAME
from tests.support.visited import TOKEN, Visitor, served


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give a queue in which tasks wait for longer than any test takes."""
    return staged(resolution=1)


@pytest.fixture
def visitor(stage: Stage) -> Iterator[Visitor]:
    """Give somebody who has logged in to the page of the stage."""
    with served(stage.settings) as visitor:
        visitor.login("ann")
        yield visitor


def test_what_waits_is_cancelled_and_that_undone_and_purged(stage: Stage, visitor: Visitor) -> None:
    """Those that match and no others; what is to be done is told before, with its count."""
    for name in ("a", "b", "c"):
        stage.send(f"/v2/{name}", id=name, countdown=800)
    stage.send("/v1/d", id="d", countdown=800)
    waiting, dead = f"/queues/{stage.name}/waiting", f"/queues/{stage.name}/dead"
    asked, done = visitor.order(waiting, act="cancel", url="/v2/*")
    assert f"Cancel 3 of 4 waiting tasks of {stage.name}?" in asked.text
    assert sorted(asked.cells["Id"]) == ["a", "b", "c"]
    assert "3 cancelled, of 3 that matched" in done.text
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (1, 3)
    asked, done = visitor.order(dead, act="replay", reason="cancelled", ids="a\nb\nnone")
    assert "Replay 2 of 3 dead tasks" in asked.text
    assert "none is not there" in asked.text
    assert "2 replayed" in done.text
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (3, 1)
    asked, done = visitor.order(dead, act="purge", every="yes")
    assert "Nothing undoes it." in asked.text
    assert "1 purged" in done.text
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (3, 0)
    asked, done = visitor.order(waiting, act="run-now", ids="d")
    assert "1 sent to run now" in done.text
    assert (stage.waiting(), stage.depth()) == (2, 1)
    asked, _ = visitor.order(waiting, act="move", ids="a", to="+700s")
    assert "Move 1 of 2" in asked.text
    asked, done = visitor.order(waiting, act="forget", every="yes")
    assert "2 deleted" in done.text
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (0, 0)


def test_what_is_done_on_the_page_of_a_task_is_done_to_it_alone(stage: Stage, visitor: Visitor) -> None:
    """Though its id is written like the ids of others."""
    names = ["a", "b", "a\nb", " a", "a "]
    with stage.connection() as connection:
        channel = connection.channel()
        for name in names:
            channel.basic_publish("", f"{stage.name}.dead", b"{}", pika.BasicProperties(message_id=name))
    path = f"/queues/{stage.name}/dead"
    for at, name in enumerate(names[2:], 1):
        page = visitor.get(f"{path}/task?{urlencode({'id': name})}")
        (action,) = re.findall(rf'action="({path}[^"]*)"', page.html)
        asked, done = visitor.order(html.unescape(action), act="purge")
        assert f"Delete for good 1 of {len(names) - at + 1} dead tasks" in asked.text
        assert "1 purged" in done.text
    assert visitor.get(f"{path}?look=yes").cells["Id"] == ["a", "b"]


def test_a_paused_queue_says_so_and_its_ready_tasks_can_be_cancelled(stage: Stage, visitor: Visitor) -> None:
    """Who, why and until when is told; and it is probed and resumed."""
    stage.publish({"url": "/x"}, message_id="x")
    path = f"/queues/{stage.name}"
    asked, done = visitor.order(path, act="pause", lasts="10m", reason="a <bad> deploy")
    assert f"Pause {stage.name} for 10m, with 1 ready" in asked.text
    assert "paused by ann (page)" in done.text
    page = visitor.get(path)
    assert "a <bad> deploy" in page.text
    assert "paused by ann (page)" in page.text
    assert "paused" in visitor.get("/").cells["State"]
    assert visitor.get(f"{path}/ready?look=yes").cells["Id"] == ["x"]
    assert "/x" in visitor.get(f"{path}/ready/task?id=x").text
    _, done = visitor.order(f"{path}/ready", act="cancel", every="yes")
    assert "1 cancelled" in done.text
    assert (stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 1)
    asked, done = visitor.order(path, act="probe")
    assert "s late" in done.text
    _, done = visitor.order(path, act="resume")
    assert "not paused" in done.text
    assert "paused by" not in visitor.get(path).text


def test_nothing_is_done_without_the_token_and_the_form_of_the_session(
    stage: Stage, visitor: Visitor
) -> None:
    """Nor by a GET, nor before it was confirmed; and once, however often it is."""
    stage.send("/x", id="x", countdown=800)
    path, fields = f"/queues/{stage.name}/waiting", {"act": "forget", "every": "yes"}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    stranger = Visitor(visitor.base)
    for form in (fields, {**fields, "csrf": visitor.csrf()}):
        assert stranger.ask("POST", path, urlencode(form).encode(), kind).status == 401
    for form in (fields, {**fields, "csrf": "x"}):
        assert visitor.ask("POST", path, urlencode(form).encode(), kind).status == 403
    stranger.login()
    assert visitor.send(path, **fields, csrf=stranger.csrf()).status == 403
    asked = visitor.send(path, **fields, csrf=visitor.csrf())
    assert "Delete for good 1 of 1" in asked.text
    assert stage.waiting() == 1
    bearer = {"Authorization": f"Bearer {TOKEN}", **kind}
    answer = Visitor(visitor.base).ask("POST", path, urlencode(fields).encode(), bearer)
    order = answer.headers["Location"]
    # Until it is counted: there is nothing to confirm before.
    assert "Delete for good 1 of 1" in visitor.get(order).text
    assert visitor.send(order).status == 403
    assert stage.waiting() == 1
    for _ in range(2):
        done = visitor.send(order, csrf=visitor.csrf())
        assert "1 deleted" in done.text
    assert stage.waiting() == 0


REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    ("/waiting", {"act": "cancel"}, 400, "which tasks?"),
    ("/waiting", {"act": "purge", "every": "yes"}, 400, "what is to be done"),
    ("/waiting", {"act": "move", "every": "yes"}, 400, "where to?"),
    ("/waiting", {"act": "move", "every": "yes", "to_queue": "no"}, 400, "not in the configuration"),
    ("/dead", {"act": "replay", "every": "yes", "rate": "fast"}, 400, "is no rate"),
    ("", {"act": "pause", "lasts": "soon"}, 400, "must be a time such as 30s"),
    ("", {"act": "explode"}, 400, "what is to be done"),
    ("/nowhere", {"act": "cancel"}, 404, "no 'nowhere' tasks"),
]
"""Where something is asked for, what, and how that is refused."""


def test_what_can_not_be_done_is_refused(stage: Stage, visitor: Visitor) -> None:
    """With what would be right, before anything is counted."""
    csrf = visitor.csrf()
    for where, fields, status, why in REFUSED:
        page = visitor.send(f"/queues/{stage.name}{where}", csrf=csrf, **fields)
        assert (page.status, why in page.text) == (status, True), page.text


def test_schedules_are_run_and_paused_and_the_history_says_by_whom(
    admin: Admin, receiver: Receiver, tmp_path: Path
) -> None:
    """An act of the page is recorded under the name of who did it; a task is told with its history."""
    stage = Stage(admin.url, receiver, tmp_path, resolution=1)
    stage.configure(others={f"schedule:{NAME}": {"queue": stage.name, **HOURLY}})
    stage.path.write_text("history = 1d\nhistory_bytes = 100M\n" + stage.path.read_text())
    command.ran(stage.path, "declare")
    settings = load(stage.path)
    with served(settings) as visitor:
        visitor.login("ann")
        listed = visitor.get("/schedules")
        assert listed.cells["State"] == ["running"]
        asked, done = visitor.order(f"/schedules/{NAME}", act="pause")
        assert f"Pause {NAME}?" in asked.text
        assert f"{NAME}: paused" in done.text
        assert visitor.get("/schedules").cells["State"] == ["paused"]
        visitor.order(f"/schedules/{NAME}", act="resume")
        _, done = visitor.order(f"/schedules/{NAME}", act="run")
        assert f"{NAME}@" in done.text
        assert stage.depth() == 1
        stage.send("/later", id="later", countdown=800)
        visitor.order(f"/queues/{stage.name}/waiting", act="cancel", ids="later")

        def told() -> bool:
            page = visitor.get(f"/queues/{stage.name}/dead/task?id=later")
            return "cancelled" in page.cells.get("Event", []) and "ann (page)" in page.cells["By"]

        eventually(told, "the history of the task")
        assert "by the history" in visitor.get("/find?id=later").text
