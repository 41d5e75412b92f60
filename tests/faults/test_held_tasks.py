"""Tasks that a node without advanced.config could not hand on: what tells of them, and releases them.

A node that starts does not know its bindings yet. Here the way is taken away by hand, and comes back.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from pika.exceptions import NackError

from sandbox.node import Broker
from sandbox.receiver import Receiver
from tests.support import command
from tests.support.situations import situations
from tests.support.stage import Stage, eventually

COUNT = 3


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give a node as RabbitMQ comes, without our file."""
    node = Broker(management=True)
    (node.folder / "advanced.config").unlink()
    try:
        node.restart()
        yield node
    finally:
        node.stop()


@pytest.fixture
def stage(node: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give one declared queue on that node, whose timer is the default one whatever a test has set."""
    node.eval("application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 180_000).")
    stage = Stage(node.url, receiver, tmp_path).declare()
    stage.path.write_text(f"management_url = {node.management_url}\n{stage.path.read_text()}")
    yield stage
    stage.close()


def runbook() -> list[list[list[str]]]:
    """Give the arguments of rabbitmqctl in each block for the shell of the second situation."""
    (text,) = [each.text for each in situations() if each.number == 2]
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [[shlex.split(line)[1:] for line in block.splitlines()] for block in blocks]


def release(node: Broker, block: int) -> None:
    """Run a block of the page as it stands there."""
    for arguments in runbook()[block]:
        node.ctl(*arguments)


def test_what_found_no_way_is_told_and_released(node: Broker, stage: Stage) -> None:
    """Once the way is back it would stand there for 3 minutes; what the page says has it come at once."""
    stage.cut_off("0.3s")
    for _ in range(COUNT):
        stage.send("/x", countdown=1.3)

    def told() -> bool:
        """Tell whether the API, some seconds late, has counted all and told what the node reads."""
        said = command.run(stage.path, "inspect").stderr.decode()
        return f"{COUNT} held by the broker" in said and f"{node.node} reads none" in said

    eventually(told, "inspect says how many are held, and what the node lacks")
    stage.declare()
    checks = {each["check"]: each for each in command.read(stage.path, "check")["checks"]}
    assert checks["advanced.config"]["detail"] == f"not read by {node.node}"
    assert checks["advanced.config"]["state"] == checks["held"]["state"] == "warning"
    assert checks["held"]["detail"] == f"{COUNT} on ladder {stage.name}, though their wait is over"
    assert stage.depth() == 0
    release(node, 0)
    eventually(lambda: stage.depth() == COUNT, "all in the work queue")


def test_what_the_next_queue_refused_is_released_on_4(node: Broker, stage: Stage) -> None:
    """It does not try that again before its time, so what hands on has to begin anew."""
    if int(node.ctl("version").split(".")[0]) < 4:
        pytest.skip("RabbitMQ 3.10 would take the restarts for a fault")
    node.ctl("set_policy", "full", f"^{stage.name}$", '{"max-length": 1}', "--apply-to", "queues")
    there = fill(stage)
    for _ in range(COUNT):
        stage.send("/x", countdown=0.3)
    eventually(lambda: stage.waiting() == 0, "all have left their rung")
    node.ctl("clear_policy", "full")
    release(node, 0)
    # A length is kept to within a message or two.
    assert stage.depth() < there + COUNT
    release(node, 1)
    eventually(lambda: stage.depth() >= there + COUNT, "all in the work queue")


def fill(stage: Stage) -> int:
    """Publish until the work queue takes no more, as a policy comes into force by and by; gives how many."""

    def is_full() -> bool:
        try:
            stage.publish({"url": "/there"})
        except NackError:
            return True
        return False

    eventually(is_full, "the policy in force")
    return stage.depth()
