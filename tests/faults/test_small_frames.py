"""A broker with small frames: what headers may take follows from what was negotiated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.node import Broker
from sandbox.receiver import Receiver
from taskqueue import PublishFailed
from tests.support import command
from tests.support.stage import PATIENCE, Process, Stage

FRAME = 8192
SMALLER = "?frame_max=4096"


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give a node with frames of 8 KiB."""
    with Broker.start(config=[f"frame_max = {FRAME}"]) as node:
        yield node


def takes_no_less(node: Broker) -> bool:
    """Tell whether the broker hangs up on whoever asks for smaller frames."""
    return tuple(map(int, node.ctl("version").split(".")[:2])) >= (4, 1)


@pytest.fixture(params=["", SMALLER], ids=["8192", "4096"])
def stage(
    node: Broker, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """Give one declared queue; what asks for smaller frames still gets them, where the broker takes that."""
    if request.param and takes_no_less(node):
        pytest.skip("RabbitMQ takes no frames below 8 KiB from 4.1 on")
    stage = Stage(node.url, receiver, tmp_path, retry_limit=2).declare()
    stage.path.write_text(stage.path.read_text().replace(node.url, f"{node.url}{request.param}"))
    yield stage
    stage.close()


def others(stage: Stage, receiver: Receiver, count: int = 5) -> list[str]:
    """Send tasks that succeed, and give their ids."""
    receiver.answer("/fine", 200)
    for number in range(count):
        stage.publish({"url": "/fine"}, message_id=f"fine-{number}")
    return [f"fine-{number}" for number in range(count)]


def untouched(process: Process, receiver: Receiver, sent: list[str]) -> None:
    """Hold that others ran once, and that nothing ended the connection."""
    requests = receiver.wait_for(len(sent), path="/fine", timeout=PATIENCE)
    assert sorted(request.headers["Taskqueue-Id"] for request in requests) == sent
    assert "connection lost" not in process.log
    assert "FRAME_ERROR" not in process.log
    assert "Traceback" not in process.log


@pytest.mark.parametrize("length", [3000, 7000, 9000, 16_000])
def test_a_long_url_that_fails_is_rolled_back_once(stage: Stage, receiver: Receiver, length: int) -> None:
    """As much of it as there is room for is told to the roll_back's receiver."""
    path = "/x" + "a" * (length - 2)
    receiver.answer(path, 500)
    process = stage.run()
    stage.publish({"url": path, "roll_back": "/sorry"}, message_id="m")
    sent = others(stage, receiver)
    (sorry,) = receiver.wait_for(1, path="/sorry", timeout=PATIENCE)
    told = sorry.headers["Taskqueue-Failed-Url"]
    assert path.startswith(told.removesuffix("..."))
    assert len(told) >= min(length, 300)
    assert sorry.headers["Taskqueue-Failed-Id"] == "m"
    ((headers, _, properties),) = stage.dead()
    assert (headers["taskqueue-reason"], properties.message_id) == ("failed", "m")
    assert len(receiver.to(path)) == 2
    untouched(process, receiver, sent)
    stage.settle()


@pytest.mark.parametrize("size", [1000, 2900, 3900, 5900, 6400, 7000, 7500, 7900])
def test_a_foreign_header_is_kept_or_its_task_is_dead(stage: Stage, receiver: Receiver, size: int) -> None:
    """It runs with one request an attempt, or is invalid; never both without end."""
    receiver.answer("/x", lambda request: 500 if request.headers["Taskqueue-Attempt"] == "1" else 200)
    process = stage.run()
    stage.publish({"url": "/x"}, message_id="m", headers={"foreign": "x" * size})
    sent = others(stage, receiver)
    untouched(process, receiver, sent)
    if size < 2950:
        receiver.wait_for(2, path="/x", timeout=PATIENCE)
    else:
        # Small enough for the larger frames it runs twice; else it is dead, with its body as it was.
        receiver.wait_for(
            lambda _: len(receiver.to("/x")) == 2 or "reason=invalid" in process.log, timeout=PATIENCE
        )
    stage.settle()
    attempts = [request.headers["Taskqueue-Attempt"] for request in receiver.to("/x")]
    if stage.depth(f"{stage.name}.dead"):
        ((headers, body, _),) = stage.dead()
        assert headers["taskqueue-reason"] == "invalid"
        assert headers["taskqueue-error"].startswith("headers: ")
        assert body == b'{"url": "/x"}'
        assert attempts in ([], ["1"])
    else:
        assert attempts == ["1", "2"]


@pytest.mark.parametrize("size", [9000, 140_000])
def test_a_send_with_headers_that_are_too_large_fails_alone(stage: Stage, size: int) -> None:
    """It says so at once; others of the same client are sent once."""
    with stage.client() as client:
        client.send("/x", stage.name, headers={"pad": "x" * 2000})
        with pytest.raises(PublishFailed, match="frame_max"):
            client.send("/x", stage.name, headers={"pad": "x" * size})
        client.send("/x", stage.name)
    assert stage.depth() == 2


def test_what_is_dead_can_be_listed_and_replayed(stage: Stage, receiver: Receiver) -> None:
    """A long URL is no trouble for the commands."""
    path = "/x" + "a" * 9000
    receiver.answer(path, [500, 500, 200])
    process = stage.run()
    stage.publish({"url": path}, message_id="m")
    process.wait_for("reason=failed")
    assert [each["id"] for each in command.read(stage.path, "dead", "list", stage.name)] == ["m"]
    command.ran(stage.path, "dead", "replay", stage.name, "--all", "--yes")
    receiver.wait_for(3, path=path, timeout=PATIENCE)
    stage.settle()


def test_frames_that_the_broker_does_not_take_are_told(
    node: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    """In one line that says what to change, as RabbitMQ tells it in its own log only."""
    if not takes_no_less(node):
        pytest.skip("RabbitMQ takes frames of 4 KiB up to 4.0")
    stage = Stage(node.url, receiver, tmp_path)
    stage.path.write_text(stage.path.read_text().replace(node.url, f"{node.url}{SMALLER}"))
    done = command.run(stage.path, "declare")
    assert done.returncode == 3
    (line,) = done.stderr.decode().splitlines()
    assert "frame_max below 8192: raise frame_max=4096 in 'server', or leave it out" in line
    stage.close()
