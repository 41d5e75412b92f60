"""What commands leave in the log of the broker: no error for what is routine."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import amqp
import pytest

from sandbox.broker import Broker, find_script
from taskqueue.cli import main
from tests.conftest import connect
from tests.support.stage import Process, eventually

QUEUES = ("a", "b", "c")


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give a node whose log is read."""
    if find_script() is None:
        pytest.skip("no local rabbitmq-server whose log could be read: run `make broker`")
    with Broker.start(management=True) as node:
        yield node


@pytest.fixture
def errors(node: Broker) -> Callable[[], list[str]]:
    """Give what reads the errors in the log so far."""

    def read() -> list[str]:
        # What is in the log once an error of our own is there is all that came before it.
        absent = f"absent-{secrets.token_hex(4)}"
        with connect(node.url) as connection, pytest.raises(amqp.NotFound):
            connection.channel().queue_declare(absent, passive=True)
        eventually(lambda: f"no queue '{absent}'" in node.log(), "the error of the test itself")
        lines = [line for line in node.log().splitlines() if "[error]" in line]
        # A channel that RabbitMQ 3.10 ends together with its connection may crash over that, with a page of
        # lines (noproc), and the supervisor of channels tells of those that ended just before it was to end
        # too. Both are races of the broker's own, and no answer to a question of ours: pika asks for the end
        # of the connection once each channel's is confirmed.
        own = ("noproc", "rabbit_channel_sup_sup}")
        crashed = {_process(line) for line in lines if any(race in line for race in own)}
        return [line for line in lines if _process(line) not in crashed]

    return read


@pytest.fixture
def ran() -> Iterator[Callable[..., None]]:
    """Give what runs a command to its end, in this process: to start one takes longer than most commands."""
    logger = logging.getLogger("pika")
    level = logger.level

    def run(path: Path, *command: str, code: int = 0) -> None:
        with pytest.raises(SystemExit) as ended:
            main([*command, "--config", str(path)])
        assert ended.value.code == code, command

    yield run
    logger.setLevel(level)


def _process(line: str) -> str:
    """Read which process of the broker wrote a line."""
    return line.partition("[error] ")[2].partition(" ")[0]


@pytest.mark.parametrize("managed", [True, False])
def test_what_is_routine_leaves_no_error_in_the_log_of_the_broker(
    node: Broker, errors: Callable[[], list[str]], ran: Callable[..., None], tmp_path: Path, *, managed: bool
) -> None:
    """But for a first declare without the management API, which asks of each queue whether it is there."""
    vhost = f"v-{secrets.token_hex(4)}"
    node.ctl("add_vhost", vhost)
    node.ctl("set_permissions", "-p", vhost, "guest", ".*", ".*", ".*")
    lines = [f"server = {node.url}{vhost}", "levels = 2"]
    lines += [f"management_url = {node.management_url}"] if managed else []
    path = tmp_path / "taskqueue.ini"
    path.write_text("\n".join([*lines, *(f"[{queue}]" for queue in QUEUES), "[d]", "ladder = shared", ""]))
    before = len(errors())
    seen = len(errors())
    # What a look at what is not there writes.
    each = seen - before
    assert each >= 1

    def new() -> list[str]:
        """Give the errors since the last time."""
        nonlocal seen
        found, since = errors(), seen
        seen = len(found)
        return found[since:-each]

    def left_by(*command: str, code: int = 0) -> list[str]:
        ran(path, *command, code=code)
        return new()

    # Two looks at each queue, and one at the shared ladder.
    most = (2 * (len(QUEUES) + 1) + 1) * each
    for code, command in ((1, ["check"]), (1, ["inspect"]), (0, ["declare", "--dry-run"]), (0, ["declare"])):
        left = left_by(*command, code=code)
        assert (left == []) if managed else (0 < len(left) <= most), (command, left)
    for command in (["declare"], ["declare", "--dry-run"], ["inspect"], ["check"], ["dead", "list", "a"],
                    ["waiting", "list", "a"], ["waiting", "list", "d"], ["send", "a", "/x"],
                    ["pause", "d", "--for", "1h"], ["inspect"], ["pause", "d"], ["resume", "d"],
                    ["resume", "d"]):  # fmt: skip
        assert left_by(*command) == [], command
    consumer = Process("run", "--declare", "--config", str(path))
    consumer.wait_for("consuming from d")
    ran(path, "pause", "d")
    consumer.wait_for("d: paused by")
    ran(path, "resume", "d")
    consumer.wait_for("consuming from d", times=2)
    consumer.stop()
    assert new() == []
