"""A broker that allows fewer channels than a consumer has queues: it is told, and not tried in a hot loop."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox.receiver import Receiver
from taskqueue import BrokerRefused, Client, PublishFailed
from taskqueue.declare.apply import declare
from taskqueue.settings import load
from tests.support.admin import Admin
from tests.support.stage import PATIENCE, Process, eventually

QUEUES = tuple("abcdef")


def configured(path: Path, server: str, receiver: Receiver) -> Path:
    """Write a configuration of several queues on one ladder."""
    sections = "".join(f"[{name}]\n" for name in QUEUES)
    path.write_text(f"server = {server}\nlevels = 1\nladder = of-all\nbase_url = {receiver.url}\n{sections}")
    return path


def send(path: Path) -> None:
    """Send one task to each queue."""
    with Client.from_config(path) as client:
        for name in QUEUES:
            client.send(f"/{name}", name, id=name)


@pytest.mark.parametrize("most", [0, 1])
def test_a_limit_of_the_user_is_told_and_waited_for(
    admin: Admin, receiver: Receiver, tmp_path: Path, most: int
) -> None:
    """The broker's words, what to do, longer and longer waits; no task runs before it can be settled.

    With one channel that of the tasks may have it, or that by which pauses are seen: the other one tells.
    """
    everything = configured(tmp_path / "all.ini", admin.url, receiver)
    declare(load(everything))
    url = admin.user(".*", ".*", ".*")
    user = str(urlsplit(url).username)
    admin.limit("max-channels", most, user)
    send(everything)
    process = Process("run", "--config", str(configured(tmp_path / "few.ini", url, receiver)))
    try:
        process.wait_for("number of channels opened for user", times=6)
        if most == 0:
            process.wait_for("next try", times=6)
            tries = [line.split()[0] for line in process.lines if "next try" in line]
            # The five waits are 0.1, 0.2, 0.4, 0.8 and 1.6 s at the least, by the time that each line tells.
            first, sixth = (datetime.fromisoformat(tries[number]) for number in (0, 5))
            assert sixth - first > timedelta(seconds=2.5)
        assert "raise the limit" in process.log
        assert "Traceback" not in process.log
        assert receiver.requests == []
        admin.limit("max-channels", len(QUEUES) + 5, user)
        receiver.wait_for(len(QUEUES), timeout=2 * PATIENCE)
    finally:
        process.stop()
    assert sorted(request.headers["Taskqueue-Id"] for request in receiver.requests) == list(QUEUES)


def test_a_limit_of_the_connection_leaves_the_first_queues_at_work(
    admin: Admin, receiver: Receiver, tmp_path: Path
) -> None:
    """One line names the others; the connection stays."""
    everything = configured(tmp_path / "all.ini", admin.url, receiver)
    declare(load(everything))
    send(everything)
    receiver.answer("/a", [500, 200])
    process = Process(
        "run", "--config", str(configured(tmp_path / "few.ini", f"{admin.url}?channel_max=6", receiver))
    )
    try:
        receiver.wait_for(4, timeout=PATIENCE)
        (line,) = [line for line in process.lines if "channel_max" in line]
        assert " error " in line
        assert "queue 'd' and all behind it are not consumed" in line
        assert "next try" not in process.log
    finally:
        process.stop()
    assert sorted(request.path for request in receiver.requests) == ["/a", "/a", "/b", "/c"]


def test_a_send_that_has_too_few_channels_says_so_at_once(
    admin: Admin, receiver: Receiver, tmp_path: Path
) -> None:
    """With two it goes out."""
    path = configured(tmp_path / "few.ini", admin.url, receiver)
    declare(load(path))
    with Client(f"{admin.url}?channel_max=1") as client, pytest.raises(BrokerRefused, match="a send takes 2"):
        client.send("/a", "a")
    with Client(f"{admin.url}?channel_max=2") as client:
        client.send("/a", "a")


@pytest.mark.parametrize("most", [0, 1])
def test_a_send_of_a_user_that_may_have_too_few_channels_gives_the_words_of_the_broker(
    admin: Admin, receiver: Receiver, tmp_path: Path, most: int
) -> None:
    """It ends the connection over them again and again, so nothing else would tell."""
    declare(load(configured(tmp_path / "few.ini", admin.url, receiver)))
    url = admin.user(".*", ".*", ".*")
    admin.limit("max-channels", most, str(urlsplit(url).username))
    with (
        Client(url, timeout=8.0) as client,
        pytest.raises(PublishFailed, match=r"lost the connection: .*number of channels opened for user"),
    ):
        client.send("/a", "a")


def test_commands_do_with_few_channels(admin: Admin, receiver: Receiver, tmp_path: Path) -> None:
    """They look at one thing after the other then."""
    path = configured(tmp_path / "few.ini", f"{admin.url}?channel_max=4", receiver)
    declare(load(path))
    eventually(lambda: admin.names("queues") >= set(QUEUES), "everything declared")
