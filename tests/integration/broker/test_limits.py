"""Limits of the broker: whoever meets one is told by the broker's own words, and what to do."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from taskqueue import BrokerUnreachable, Client
from tests.support import command
from tests.support.admin import Admin
from tests.support.stage import Process


@pytest.fixture(params=["of the virtual host", "of the user"])
def limited(admin: Admin, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    """Give a configuration whose user gets no connection, and the words of the broker."""
    url = admin.user(".*", ".*", ".*")
    path = tmp_path / "taskqueue.ini"
    path.write_text(f"server = {url}\nlevels = 1\n[q]\n")
    if request.param == "of the user":
        admin.limit("max-connections", 0, urlsplit(url).username)
        return path, "user connection limit (0) is reached"
    admin.limit("max-connections", 0)
    return path, "connection limit (0) is reached"


def test_a_connection_that_is_one_too_many_is_told_as_that(limited: tuple[Path, str]) -> None:
    """By each command, the consumer and the client; nothing is said of a virtual host that is not there."""
    path, words = limited
    url = path.read_text().partition("server = ")[2].splitlines()[0]
    process = Process("run", "--config", str(path))
    process.wait_for("next try", times=2)
    process.stop()
    told = [line for line in process.lines if "next try" in line]
    with Client(url, timeout=60) as client, pytest.raises(BrokerUnreachable) as caught:
        client.send("/x", "q")
    commands = (["inspect"], ["dead", "list", "q"], ["declare"], ["send", "q", "/x"])
    done = [command.run(path, *each) for each in commands]
    assert [each.returncode for each in done] == [3] * len(done)
    checked = command.ran(path, "check", code=3)
    for each in (*told, str(caught.value), *(each.stderr.decode() for each in done), checked):
        assert words in each
        assert "does not exist" not in each


def test_a_queue_that_is_one_too_many_is_told_as_that(admin: Admin, tmp_path: Path) -> None:
    """It is no conflict with anybody else's queue; and once there is room, `declare` goes on."""
    path = tmp_path / "taskqueue.ini"
    path.write_text(f"server = {admin.url}\nlevels = 1\n[q]\n")
    # From one on, some that are declared at once are counted before they are there.
    admin.limit("max-queues", 0)
    done = command.run(path, "declare")
    assert done.returncode == 1
    assert f"queue limit in vhost '{admin.vhost}' (0) is reached" in done.stderr.decode()
    assert "someone else" not in done.stderr.decode()
    command.ran(path, "check", code=1)
    admin.limit("max-queues", -1)
    command.ran(path, "declare")
    command.ran(path, "check")
