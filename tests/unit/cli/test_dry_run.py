"""What would be sent, shown: its due time, its way, and the request as a command that makes it."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import command
from tests.support.signed import SECRET, VERIFIER


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """Give an ini whose broker is nowhere: none is needed."""
    path = tmp_path / "taskqueue.ini"
    path.write_text(
        "server = amqp://127.0.0.1:9/\n[q]\nbase_url = http://127.0.0.1:1/base\n"
        f"handlers = headers, bearer, signing\nbearer_token = sesame\nsigning_secret = {SECRET}\n[bare]\n"
    )
    return path


def test_the_curl_is_the_request(ini: Path) -> None:
    """Word for word, but for credentials; a signature is real."""
    body = """{"a": "it's",  "b": "@x"}"""
    shown = command.read(
        ini, "send", "q", "/x", "--dry-run", "--payload", body, "--id", "mine",
        "--metadata", '{"method": "PUT", "headers": {"X-A": "b"}}',
    )  # fmt: skip
    words = shlex.split(shown["request"]["curl"])
    assert words[:6] == ["curl", "--globoff", "--path-as-is", "-X", "PUT", "http://127.0.0.1:1/base/x"]
    assert words[-2:] == ["--data-raw", body]
    headers = dict(text.split(": ", 1) for flag, text in pairwise(words) if flag == "-H")
    assert (headers["X-A"], headers["Taskqueue-Id"], headers["Authorization"]) == ("b", "mine", "(hidden)")
    assert VERIFIER.verify(headers, body.encode()) == "mine"


def test_no_login_is_told(ini: Path) -> None:
    """Neither in the command nor in the message; nor where there is no request."""
    for queue, code in (("q", 0), ("bare", 1)):
        for more in ((), ("--json",)):
            told = command.ran(ini, "send", queue, "//user:SECRET@h/x", "--dry-run", *more, code=code)
            assert "//h/x" in told
            assert "SECRET" not in told


def test_it_tells_the_way_onto_the_ladder(ini: Path) -> None:
    """And when it would run."""
    shown = command.read(ini, "send", "q", "/x", "--dry-run", "--countdown", "25.3")
    assert (shown["exchange"], shown["routing_keys"]) == (
        "q.wait",
        ["in>20s", "10s>5s", "1s>0.3s", "0.1s>due:q"],
    )
    assert shown["message"] == '{"url":"/x","countdown":25.3}'
    lines = command.ran(ini, "send", "q", "/x", "--dry-run").splitlines()
    assert lines[2].endswith(", at once")
    assert lines[-1].startswith("curl ")


def test_what_would_be_dead_at_once_is_told(ini: Path) -> None:
    """The broker would take it; the exit code says that it is not good."""
    shown = command.read(ini, "send", "bare", "/x", "--dry-run", code=1)
    assert shown["request"] is None
    assert "has no base_url" in shown["error"]


def test_what_can_not_be_sent_is_refused_as_ever(ini: Path) -> None:
    """By the same checks."""
    for arguments in (("q",), ("nobody", "/x"), ("q", "/x", "--countdown", "-1"), ("q", "--many", "-")):
        assert command.run(ini, "send", *arguments, "--dry-run").returncode == 2
