"""Headers that no decoder can read: the task is dead, the consumer goes on."""

from __future__ import annotations

import struct

import pytest

from sandbox.receiver import Receiver
from taskqueue.broker.wire import LARGEST_HEADERS, LARGEST_OF_OURS
from tests.support.raw_headers import Raw, entry, nested
from tests.support.stage import Stage


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param(
            entry(b"T", struct.pack(">Q", 2**63)), "headers: can't be decoded", id="year 292 billion"
        ),
        pytest.param(nested(3000), "headers: can't be decoded", id="nested"),
        pytest.param(
            entry(b"S", struct.pack(">I", 100_000) + b"x" * 100_000), "headers: must have at most", id="huge"
        ),
        pytest.param(entry(b"V", b""), "message_id: must be a text", id="id"),
        pytest.param(entry(b"S", struct.pack(">I", 1) + b"\xff", b"\xff\xfe"), "message_id", id="not UTF-8"),
        pytest.param(entry(b"D", struct.pack(">Bi", 255, 7)), "message_id", id="tiny decimal"),
        pytest.param(entry(b"l", struct.pack(">q", 99), b"x-delivery-count"), "message_id", id="count"),
    ],
)
def test_a_message_with_hostile_headers_is_dead_and_the_next_one_runs(
    stage: Stage, receiver: Receiver, table: bytes, words: str
) -> None:
    """Its body is untouched, and its connection and neighbours live on."""
    # Given a consumer that has connected once
    process = stage.run()
    # When a message comes whose headers pika can't decode, and another one behind it
    with stage.connection() as connection:
        channel = connection.channel()
        channel.basic_publish("", stage.name, b'{"url": "/hostile"}', Raw(table))
    stage.publish({"url": "/next"})
    # Then the first is dead, the second runs, and the connection was never lost
    ((headers, body, _),) = stage.dead()
    assert headers["taskqueue-reason"] == "invalid"
    assert words in headers["taskqueue-error"]
    assert body == b'{"url": "/hostile"}'
    assert [request.path for request in receiver.wait_for(1)] == ["/next"]
    assert "connection lost" not in process.log
    assert "Traceback" not in process.log
    stage.settle()


class WithAnId(Raw):
    """Properties with a table of headers that is written byte by byte, and an id that is a text."""

    def encode(self) -> list[bytes]:
        """Write the flags, the table and the id."""
        return [*super().encode()[:2], b"\x04mine"]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(entry(b"T", struct.pack(">Q", 2**63)), id="year 292 billion"),
        pytest.param(entry(b"S", struct.pack(">I", 100_000) + b"x" * 100_000), id="huge"),
    ],
)
def test_a_task_whose_headers_are_lost_keeps_its_id_and_is_rolled_back(
    stage: Stage, receiver: Receiver, table: bytes
) -> None:
    """It will never run, so what was done for it is undone; but not where it was for another queue."""
    stage.consume()
    body = b'{"url": "/hostile", "roll_back": "/undo", "payload": 1.50}'
    other = b'{"url": "/hostile", "roll_back": "/other", "queue": "elsewhere"}'
    with stage.connection() as connection:
        channel = connection.channel()
        channel.basic_publish("", stage.name, other, WithAnId(table))
        channel.basic_publish("", stage.name, body, WithAnId(table))
    (undo,) = receiver.wait_for(1)
    assert (undo.path, undo.body) == ("/undo", b"1.50")
    assert undo.headers["Taskqueue-Failed-Id"] == "mine"
    assert undo.headers["Taskqueue-Failure"].startswith("invalid: headers: ")
    dead = stage.dead(2)
    assert [each for _, each, _ in dead] == [other, body]
    assert {(headers["taskqueue-reason"], its.message_id) for headers, _, its in dead} == {
        ("invalid", "mine")
    }
    stage.settle()


NEARLY_TOO_LARGE = {"pad": "x" * (LARGEST_HEADERS - 60)}


def test_headers_that_just_fit_stay_fit_with_ours_added(stage: Stage, receiver: Receiver) -> None:
    """A task that was taken once does not turn invalid by being tried again, nor does its roll_back."""
    stage.consume()
    receiver.answer("/x", 500)
    url = "/x?" + "y" * 16_000
    body = {"url": url, "roll_back": "/undo", "max_retries": 2}
    stage.publish(body, headers=NEARLY_TOO_LARGE, message_id="m")
    (undo,) = receiver.wait_for(1, path="/undo")
    assert len(receiver.to("/x")) == 2
    assert url.startswith(undo.headers["Taskqueue-Failed-Url"])
    ((headers, _, properties),) = stage.dead()
    assert (headers["taskqueue-reason"], properties.message_id) == ("failed", "m")
    stage.settle()


def test_a_return_too_large_to_be_read_is_a_return(stage: Stage, receiver: Receiver) -> None:
    """The broker confirms what it returns: the two must never be taken for a success."""
    # Given a task with large headers whose retry no queue takes
    receiver.answer("/x", [500, 200])
    process = stage.run()
    stage.cut_off("0.1s", "0.2s", "0.3s")
    headers = {"pad": "x" * (LARGEST_HEADERS + LARGEST_OF_OURS - 100), "taskqueue-first-seen": 1}
    stage.publish({"url": "/x"}, headers=headers)
    # Then it is kept and published again until there is one
    process.wait_for("could not be published", times=2)
    stage.declare()
    ((_, body, _),) = stage.dead()
    assert body == b'{"url": "/x"}'
    stage.settle()
