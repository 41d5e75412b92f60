"""`taskqueue send`: every field from the command line, and clear words for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.receiver import Receiver
from tests.support.command import LIMIT
from tests.support.stage import Stage


def send(stage: Stage, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run `taskqueue send` for the stage's queue, with `given` on its standard input."""
    command = [sys.executable, "-m", "taskqueue", "send", "--config", str(stage.path), stage.name, *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=LIMIT)


def test_it_prints_the_id_of_a_task_that_runs(stage: Stage, receiver: Receiver) -> None:
    """And nothing else on standard output."""
    stage.consume()
    sent = send(stage, "/x", "--payload", '{"user":  7}', "--metadata", '{"headers": {"X-A": "b"}}')
    (request,) = receiver.wait_for(1)
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout == f"{request.headers['Taskqueue-Id']}\n"
    assert request.body == b'{"user":  7}'
    assert request.headers["X-A"] == "b"


def test_every_option_is_a_field_of_the_message(stage: Stage) -> None:
    """As any program would write it."""
    sent = send(
        stage, "/x", "--eta", "5", "--max-retries", "3", "--expires", "9e9", "--roll-back", "/undo",
        "--id", "mine", "--priority", "4", "--json",
    )  # fmt: skip
    assert json.loads(sent.stdout) == {"id": "mine", "queue": stage.name}
    with stage.connection() as connection:
        _, properties, body = connection.channel().basic_get(stage.name, auto_ack=True)
    assert body is not None
    assert properties is not None
    assert json.loads(body) == {"url": "/x", "eta": 5, "max_retries": 3, "expires": 9e9, "roll_back": "/undo"}
    assert (properties.message_id, properties.priority) == ("mine", 4)


def test_a_payload_may_come_from_a_file_or_standard_input(
    stage: Stage, receiver: Receiver, tmp_path: Path
) -> None:
    """It is sent as it was written."""
    stage.consume()
    # With a byte order mark, as some editors write it.
    (tmp_path / "payload.json").write_text('[1,  "ü"]', encoding="utf-8-sig")
    send(stage, "/file", "--payload", f"@{tmp_path / 'payload.json'}")
    send(stage, "/stdin", "--payload", "-", given='{"from":  "stdin"}')
    bodies = {request.path: request.body.decode() for request in receiver.wait_for(2)}
    assert bodies == {"/file": '[1,  "ü"]', "/stdin": '{"from":  "stdin"}'}


def test_countdown_goes_onto_the_ladder(stage: Stage, receiver: Receiver) -> None:
    """Nobody consumes it before it is due."""
    before = time.time()
    send(stage, "/x", "--countdown", "1.5")
    stage.consume()
    (request,) = receiver.wait_for(1)
    assert request.at - before >= 1.5


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("/x", "--countdown", "-1"), 2, "countdown: must be from 0"),
        (("/x", "--countdown", "soon"), 2, "Invalid value for '--countdown'"),
        (("/x", "--eta", "1", "--countdown", "1"), 2, "eta: goes without countdown"),
        (("ftp://x/",), 2, "url: must have the scheme http or https"),
        (("/x", "--payload", "{oops"), 2, "--payload: is not JSON"),
        (("/x", "--payload", '{"a": NaN}'), 2, "--payload: is not JSON: NaN is not a JSON number"),
        (("/x", "--id", "x" * 256), 2, "message_id: must have at most 255 bytes"),
        (("/x", "--id", "\udcff"), 2, "message_id: must be Unicode"),
        (("/x", "--timeout", "nan"), 2, "Invalid value for '--timeout'"),
        (("/x", "--payload", "@/nowhere"), 2, "--payload: can't read it"),
        (("/x", "--metadata", "[1]"), 2, "metadata: must be an object"),
        ((), 2, "Missing argument 'URL'"),
        (("/x", "--done", "/nowhere"), 2, "--done: goes with --many only"),
    ],
)
def test_a_mistake_is_one_clear_line(stage: Stage, arguments: tuple[str, ...], code: int, words: str) -> None:
    """Exit code 2, nothing sent, never a traceback."""
    sent = send(stage, *arguments)
    assert sent.returncode == code
    assert words in sent.stderr
    assert "Traceback" not in sent.stderr
    assert sent.stdout == ""
    assert stage.depth() == 0


def test_what_is_not_there_has_an_exit_code_of_its_own(stage: Stage) -> None:
    """1 for a queue that is not declared, 3 for no broker."""
    stage.close()
    undeclared = send(stage, "/x")
    assert undeclared.returncode == 1
    assert "run 'taskqueue declare'" in undeclared.stderr
    stage.path.write_text(f"server = amqp://me:hunter2@127.0.0.1:9/\n[{stage.name}]\nbase_url = http://x")
    nobody = send(stage, "/x")
    assert nobody.returncode == 3
    assert nobody.stderr == "taskqueue: no broker: 127.0.0.1:9: Connection refused\n"
