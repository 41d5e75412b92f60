"""The examples in other languages: what each sends is a task, and each tells what is genuine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from taskqueue.request.handlers.signing import _key, _signature
from taskqueue.task.decode import decode
from taskqueue.task.message import Message
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from tests.support.signed import SECRET

EXAMPLES = Path(__file__).parents[2] / "examples"
PUBLISHING = sorted(path for path in EXAMPLES.glob("*/*") if path.stem.lower() == "publish")
VERIFYING = sorted(path for path in EXAMPLES.glob("*/*") if path.stem.lower() == "verify")
RUN = {
    ".mjs": ("node",),
    ".go": ("go", "run"),
    ".php": ("php",),
    ".rb": ("ruby",),
    ".java": ("java",),
}
PATIENCE = 300


def name(path: Path) -> str:
    """Name an example."""
    return f"{path.parent.name}-{path.stem}"


def test_there_are_as_many_as_are_told_of() -> None:
    """Each language in the table of the page, and none that is not there."""
    page = (EXAMPLES / "README.md").read_text()
    assert len(PUBLISHING) == 6
    assert {path.suffix for path in VERIFYING} == RUN.keys()
    assert all(str(path.relative_to(EXAMPLES)) in page for path in PUBLISHING)


@pytest.mark.parametrize("path", PUBLISHING, ids=name)
def test_the_messages_are_tasks(path: Path) -> None:
    """With the fields that the page tells of, and no field that nobody knows."""
    found = [
        decode(Message(text.encode(), {}, {"message_id": "x"}), now=0)
        for text in re.findall(r'\{"url":.*?\}(?=[\'`\n])', path.read_text())
    ]
    assert [task.url for task in found] == ["/welcome", "/reminder"]
    assert [task.content for task in found] == [b'{"user": 7}'] * 2
    assert [(task.due, task.max_retries, task.unknown) for task in found] == [(20_000, 5, ()), (0, None, ())]


@pytest.mark.parametrize("path", PUBLISHING, ids=name)
def test_the_way_onto_the_ladder_is_that_of_the_ladder(path: Path) -> None:
    """The exchange where delayed messages enter, and the hops of 20 s; confirmed and mandatory."""
    text = path.read_text()
    ladder = Ladder()
    first, last = ladder.itinerary(ladder.ticks(20_000), "")
    assert all(word in text for word in (first, last, names.wait(""), "CC"))
    assert re.search("confirm", text, re.IGNORECASE)
    assert re.search("return|routed", text)


@pytest.mark.parametrize("path", VERIFYING, ids=name)
def test_what_is_genuine_is_told_from_what_is_not(path: Path) -> None:
    """By the signatures of the handler `signing`; where the language is not there, pytest says so."""
    if shutil.which(RUN[path.suffix][0]) is None:
        pytest.skip(f"no {RUN[path.suffix][0]} on this machine: {name(path)} was not run")
    body = '{"text":  "ü"}'.encode()
    now = str(int(time.time()))
    good = signed(now, body)

    def genuine(timestamp: str, signature: str, content: bytes, secret: str = SECRET) -> bool:
        ended = subprocess.run(
            [*RUN[path.suffix], path, "id-1", timestamp, signature],
            input=content, capture_output=True, check=False, timeout=PATIENCE,
            env={**os.environ, "SIGNING_SECRET": secret},
        )  # fmt: skip
        # A fault of the example is no answer.
        assert ended.returncode in {0, 1}, ended.stderr.decode()
        assert ended.stderr in {b"", b"exit status 1\n"}, ended.stderr.decode()
        return ended.returncode == 0

    assert genuine(now, good, body)
    assert genuine(now, f"v1,AAAA {good}", body)
    assert not genuine(now, good, body + b" ")
    assert not genuine(now, "v1,AAAA", body)
    assert not genuine("1", signed("1", body), body)
    assert not genuine("soon", signed("soon", body), body)
    assert not genuine(now, good, body, secret="whsec_AAAA")


def signed(timestamp: str, body: bytes) -> str:
    """Sign as the handler does."""
    return _signature(_key(SECRET, "q"), b".".join((b"id-1", timestamp.encode(), body)))
