"""docs/permissions.md on a real broker: each role can do its work with its patterns, and no other's."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from sandbox.broker import Server
from sandbox.receiver import Answer, Receiver
from taskqueue import Client
from taskqueue.cli import main
from taskqueue.errors import AccessRefused
from taskqueue.settings import load
from taskqueue.topology import names
from tests.conftest import connect
from tests.support.admin import PASSWORD, Admin
from tests.support.stage import Process
from tests.support.visited import TOKEN, Visitor, served

DOCS = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| ([a-z ]+) \| `(\S+)` \| `(\S+)` \| `(\S+)` \|", re.MULTILINE)
ROLES = {role: patterns for role, *patterns in _ROW.findall(DOCS.replace(r"\|", "|"))}
SCHEDULE = "[schedule:yearly]\ncron = @yearly\nqueue = a\nurl = /yearly\n"


def patterns(role: str) -> list[str]:
    """Give the patterns of a role for a queue of which a history is kept."""
    more = ROLES.get(f"{role} with history", ["^$"] * 3)
    pairs = zip(ROLES[role], more, strict=True)
    return ["|".join(each for each in pair if each != "^$") or "^$" for pair in pairs]


class Site:
    """A virtual host, and commands of users with the rights of a role; `faults` is what went otherwise."""

    def __init__(
        self, admin: Admin, receiver: Receiver, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.admin = admin
        self.receiver = receiver
        self.faults: list[str] = []
        self._folder = folder
        self._capsys = capsys

    def ini(self, role: str, queue: str = "a", schedules: str = SCHEDULE, **keys: Any) -> Path:
        """Write the configuration of a new user, with the patterns that the docs have for Q, on `a`."""
        server = self.admin.user(*(pattern.replace("Q", "a") for pattern in patterns(role)))
        values = {
            "server": server, "management_url": self.admin.management_url, "levels": 1,
            "base_url": self.receiver.url, "min_backoff_seconds": 0.1, "jitter": 0,
            "rate": "1000/s", "max_concurrency": 5, "history": "1d", "history_bytes": "100M",
        }  # fmt: skip
        lines = [*(f"{key} = {value}" for key, value in (values | keys).items()), f"[{queue}]", schedules]
        path = self._folder / f"{role}-{queue}.ini"
        path.write_text("\n".join(lines))
        return path

    def does(self, ini: Path, *arguments: str, code: int = 0, told: str = "") -> str:
        """Run a command to its end in this process: it has to end with `code`, and to say `told`."""
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--config", str(ini)])
        said = "".join(self._capsys.readouterr())
        if ended.value.code != code or told not in said or PASSWORD in said:
            self.faults.append(f"{ini.stem} {' '.join(arguments)}: {ended.value.code}, {said}")
        return said

    def refused(self, ini: Path, *commands: str) -> None:
        """Run commands that the rights do not suffice for: each has to end with 1 and a line that says so."""
        for command in commands:
            self.does(ini, *command.split(), code=1, told="permission on")

    def runs_not(self, ini: Path) -> None:
        """Run the consumer: it has to take no task, to say why, and to end with 1."""
        process = Process("run", "--config", str(ini))
        if process.wait() != 1 or "permission on a" not in process.log:
            self.faults.append(f"{ini.stem} run: {process.log}")
        assert self.receiver.requests == []

    def things(self) -> tuple[set[str], set[str]]:
        """List all that is there."""
        return self.admin.names("queues"), self.admin.names("exchanges")


@pytest.fixture
def site(
    broker: Server, receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Site]:
    """Give a site on which nothing is declared."""
    level = logging.getLogger("pika").level
    admin = Admin(broker)
    yield Site(admin, receiver, tmp_path, capsys)
    admin.close()
    logging.getLogger("pika").setLevel(level)


@pytest.mark.slow
def test_the_declarer_makes_and_prunes_its_queue_and_no_other(site: Site) -> None:
    """All that declare does, with one pattern."""
    ini = site.ini("declarer", schedules="", levels=2)
    site.does(ini, "declare", "--dry-run")
    assert site.things() == (set(), set())
    site.does(ini, "declare")
    assert names.rung("a", "1s") in site.admin.names("queues")
    site.does(site.ini("declarer", schedules=""), "declare", "--prune", told="removed")
    assert names.rung("a", "1s") not in site.admin.names("queues")
    before = site.things()
    site.refused(site.ini("declarer", queue="b", schedules=""), "declare")
    assert site.things() == before
    assert site.faults == []


def test_the_publisher_sends_and_sees_nothing(site: Site) -> None:
    """At once and later; it may neither take a task nor look at one."""
    site.does(site.ini("declarer"), "declare")
    ini = site.ini("publisher")
    site.does(ini, "send", "a", "/now")
    site.does(ini, "send", "a", "/later", "--countdown", "0.5")
    site.refused(
        ini, "declare", "inspect", "waiting list a", "dead list a", "dead purge a --all --yes",
        "schedule list", "schedule run yearly", "schedule pause yearly",
    )  # fmt: skip
    with (
        Client.from_config(ini) as client,
        pytest.raises(AccessRefused, match=r"a\.wait\.look(ing|ed)\b.* permission on"),
    ):
        client.cancel("t", "a")
    site.does(ini, "check", code=1, told="may send")
    site.runs_not(ini)
    assert site.faults == []


def test_the_consumer_settles_all_and_looks_at_nothing(site: Site) -> None:
    """A success, a retry, and a dead task with its roll_back; it keeps the book of schedules."""
    site.does(site.ini("declarer"), "declare")
    ini = site.ini("consumer")
    site.receiver.answer("/fails", Answer(500))
    site.does(ini, "check", told="may consume, send")
    site.does(ini, "send", "a", "/works")
    site.does(ini, "send", "a", "/fails", "--max-retries", "2", "--roll-back", "/undone")
    process = Process("run", "--config", str(ini))
    try:
        site.receiver.wait_for(4)
    finally:
        process.stop()
    paths = sorted(request.path for request in site.receiver.requests)
    assert paths == ["/fails", "/fails", "/undone", "/works"]
    assert "permission" not in process.log
    assert "history: can't be written" not in process.log
    site.refused(
        ini, "declare", "inspect", "waiting list a", "dead list a", "dead purge a --all --yes", "history t"
    )
    assert site.faults == []


def test_the_operator_looks_at_all_and_mends(site: Site) -> None:
    """Every command that reads or mends; it may neither declare nor consume."""
    site.does(site.ini("declarer", levels=3), "declare")
    ini = site.ini("operator", levels=3)
    with connect(site.admin.url) as connection:
        channel = connection.channel()
        for number in range(3):
            message = amqp.Message('{"url": "/dead"}', message_id=f"d{number}")
            channel.basic_publish(message, routing_key=names.dead("a"))
    for number in range(3):
        site.does(ini, "send", "a", f"/{number}", "--id", f"t{number}", "--countdown", "80")
    site.does(ini, "inspect", told="waiting")
    site.does(ini, "inspect", "a", told="waiting")
    site.does(ini, "show", "t0", told="waiting")
    site.does(ini, "probe", "a", "--max-late", "60", told="in time")
    site.does(ini, "waiting", "list", "a", told="t1")
    site.does(ini, "waiting", "show", "a", "t1", told="/1")
    site.does(ini, "waiting", "cancel", "a", "--id", "t1", "--yes")
    with Client.from_config(ini) as client:
        assert client.cancel_many(["t1", "t2"], "a") == [False, True]
    site.does(ini, "waiting", "move", "a", "--id", "t0", "--to", "+90s", "--yes")
    site.does(ini, "waiting", "run-now", "a", "--id", "t0", "--yes")
    site.does(ini, "dead", "list", "a", told="d2")
    site.does(ini, "dead", "show", "a", "d0", told="/dead")
    site.does(ini, "dead", "replay", "a", "--id", "d0", "--yes")
    site.does(ini, "dead", "purge", "a", "--all", "--yes")
    site.does(ini, "pause", "a", "--reason", "mending")
    site.does(ini, "ready", "list", "a")
    site.does(ini, "resume", "a")
    site.does(ini, "schedule", "list", told="yearly")
    site.does(ini, "schedule", "run", "yearly", told="yearly@")
    site.does(ini, "schedule", "pause", "yearly")
    site.does(ini, "schedule", "resume", "yearly")
    site.does(ini, "history", told="@")
    site.refused(ini, "declare")
    assert site.faults == []


def test_the_page_has_the_rights_of_its_user(site: Site) -> None:
    """A publisher's suffice for POST alone, an operator's for all of it; a lack is told, and nothing done."""
    site.does(site.ini("declarer", levels=2, resolution=1), "declare")
    with served(load(site.ini("publisher", levels=2, resolution=1))) as visitor:
        assert posted(visitor, "t0") == 202
        csrf = visitor.login().csrf
        for path in ("/", "/queues/a", "/queues/a/waiting?look=yes", "/find?id=t0", "/schedules"):
            page = visitor.get(path)
            assert (page.status, "permission on" in page.text) == (503, True), page.text
        page = visitor.send("/queues/a/waiting", act="forget", every="yes", csrf=csrf)
        assert "permission on" in page.text
    with served(load(site.ini("operator", levels=2, resolution=1))) as visitor:
        assert posted(visitor, "t1") == 202
        visitor.login("ann")
        listed = visitor.get("/queues/a/waiting?look=yes")
        assert listed.cells["Id"] == ["t0", "t1"], listed.text
        for where, fields, told in PAGE:
            _, done = visitor.order(where, **fields)
            assert told in done.text, done.text
        for path in ("/queues/a", "/queues/a/waiting/task?id=t1", "/queues/a/dead/task?id=t0", "/schedules"):
            assert visitor.get(path).status == 200
        assert "waiting" in visitor.get("/find?id=t1").text
    assert site.faults == []


PAGE = [
    ("/queues/a/waiting", {"act": "cancel", "ids": "t0"}, "1 cancelled"),
    ("/queues/a/dead", {"act": "replay", "ids": "t0"}, "1 replayed"),
    ("/queues/a/waiting", {"act": "move", "ids": "t0", "to": "+90s"}, "1 moved"),
    ("/queues/a", {"act": "pause", "reason": "mending"}, "paused by ann"),
    ("/queues/a/waiting", {"act": "run-now", "ids": "t0"}, "1 sent to run now"),
    ("/queues/a/ready", {"act": "cancel", "ids": "t0"}, "1 cancelled"),
    ("/queues/a", {"act": "probe"}, "s late"),
    ("/queues/a", {"act": "resume"}, "not paused"),
    ("/schedules/yearly", {"act": "run"}, "yearly@"),
    ("/schedules/yearly", {"act": "pause"}, "paused"),
    ("/schedules/yearly", {"act": "resume"}, "resumed"),
]
"""Where something is done on the page, what, and what comes of it; last t0 is dead, and t1 waits."""


def posted(visitor: Visitor, task_id: str) -> int:
    """Send a task that waits by HTTP, and give the status of the answer."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": task_id}
    return visitor.ask("POST", "/queues/a/tasks", b'{"url": "/x", "countdown": 90}', headers).status
