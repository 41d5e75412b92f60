"""docs/operate.md on a real broker: every command as it stands there, and the same tasks before and after.

What the page tells of is set up where that is cheap: a paused queue, dead tasks, a broker that is away, a
wrong ini. An alarm and a node that is lost are not: tests/faults has them, and here their commands only run.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest

from sandbox.broker import Server
from sandbox.receiver import Receiver
from taskqueue.broker.connect import connect, parameters
from taskqueue.consume import probes
from taskqueue.consume.consumer import Consumer
from taskqueue.send.client import Client
from taskqueue.settings import load
from tests.support.admin import Admin
from tests.support.command import ran, run
from tests.support.seen import Seen
from tests.support.situations import Situation, situations
from tests.support.stage import PATIENCE, eventually

URLS = ("/orders/1", "/v2/a", "/v2/b", "/customers/7/a", "/customers/8/a", "/late/a")
LATER = 95
"""Seconds: as long as a ladder of three levels allows, and longer than one situation takes."""
PER_SITUATION = 2 * len(URLS) + 3
SITUATIONS = situations()


class Site:
    """Queues `mail` and `bulk` on one ladder. They have no consumer, so only commands change anything.

    That of `idle`, to which nothing is sent, probes the ladder.
    """

    def __init__(self, admin: Admin, receiver: Receiver, folder: Path) -> None:
        self.folder = folder
        self.probed = Seen()
        self.total = 0
        """How many tasks were sent."""
        text = (
            f"management_url = {admin.management_url}\nlevels = 3\nbase_url = {receiver.url}\n"
            "[mail]\n[bulk]\nladder = mail\nrate = 20/s\n[idle]\nladder = mail\n"
        )
        self.right = self._write("right", f"server = {admin.url}\n{text}")
        self.down = self._write("down", f"server = amqp://127.0.0.1:1\n{text}")
        self.wrong = self._write("wrong", f"server = {admin.url}\n{text}ratte = 1/s\n")

    def fill(self) -> None:
        """Add tasks that wait, tasks that are ready, and dead ones."""
        self.total += PER_SITUATION
        with Client.from_config(self.right) as client:
            for url in URLS:
                client.send(url, "mail", countdown=LATER)
                client.send(url, "mail")
        with connect(load(self.right), name="test") as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for number in range(PER_SITUATION - 2 * len(URLS)):
                properties = pika.BasicProperties(
                    delivery_mode=2,
                    message_id=f"died-{self.total}-{number}",
                    headers={"taskqueue-reason": "failed"},
                )
                body = b'{"url": "/died/%d"}' % number
                channel.basic_publish("", "mail.dead", body, properties, mandatory=True)

    def whole(self) -> bool:
        """Add up all counts, as the head of the page says; what is handed on at this moment is in none."""
        found = self.look()
        counts = [each[name] for each in found["queues"] for name in ("ready", "dead")]
        counts += [each["waiting"] for each in found["ladders"]]
        return None not in counts and sum(counts) == self.total

    def look(self) -> Any:
        """Give what inspect knows, whether it knows all or not."""
        return json.loads(run(self.right, "inspect", "--json").stdout)

    def run(self, command: tuple[str, ...], code: int, config: Path) -> str:
        """Run a command of the page as it stands, and a slow machine is no failure of a probe."""
        options = command if command[0] != "probe" else (*command, "--max-late", "60", "--timeout", "60")
        return ran(config, *options, code=code)

    @contextmanager
    def probing(self) -> Iterator[None]:
        """Have the ladder probed, as by a consumer of `run --queue idle`, and far more often than in life."""
        whole = load(self.right)
        settings = dataclasses.replace(whole, queues={"idle": whole.queues["idle"]})
        consumer = Consumer(settings, parameters(settings), self.probed)
        thread = threading.Thread(target=consumer.run)
        thread.start()
        try:
            yield
        finally:
            consumer.stop()
            thread.join(PATIENCE)

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / f"{name}.ini"
        path.write_text(text)
        return path


@pytest.fixture(scope="module")
def site(broker: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Give both queues, declared once for all situations."""
    admin = Admin(broker)
    try:
        with Receiver() as receiver, pytest.MonkeyPatch.context() as patch:
            patch.setattr(probes, "PERIOD", 1.0)
            patch.setattr(probes, "_LOST", 10.0)
            site = Site(admin, receiver, tmp_path_factory.mktemp("operate"))
            ran(site.right, "declare")
            with site.probing():
                yield site
    finally:
        admin.close()


FORGOTTEN = 6
"""The situation before which somebody has paused the queue."""
TOLD = {4: "/v2/", FORGOTTEN: "forgotten", 9: '"clock": 0'}
"""What its first block has to show."""


def first(site: Site, each: Situation) -> tuple[Path, int]:
    """Give the ini with which the first block of a situation runs, and the exit code of its commands."""
    return {2: (site.down, 3), 10: (site.wrong, 2)}.get(each.number, (site.right, 0))


@pytest.mark.slow
@pytest.mark.parametrize("each", SITUATIONS, ids=lambda each: each.anchor)
def test_every_command_runs_as_it_stands_and_no_task_is_lost(site: Site, each: Situation) -> None:
    """See, act, look again: the sum of all counts is what it was."""
    site.fill()
    eventually(site.whole, "all that was sent is counted")
    if each.number == FORGOTTEN:
        ran(site.right, "pause", "mail", "--reason", "forgotten")
    see, *mend = each.blocks
    config, code = first(site, each)
    seen = "".join(site.run(command, code, config) for command in see)
    assert TOLD.get(each.number, "") in seen
    for block in mend:
        for command in block:
            site.run(command, 0, site.right)
    eventually(site.whole, "every task is in one of the counts")
    site.probed.wait_for(len(site.probed.late) + 1)
    assert not any(queue["paused"] for queue in site.look()["queues"]), "the page leaves no queue paused"
