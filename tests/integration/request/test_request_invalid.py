"""Tasks that ask for what can never be done: dead at once, unlike what another attempt may mend."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sandbox.attempt import a_task, executing, headers
from sandbox.peer import Peer, answering
from taskqueue.handlers import Handler, Request
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, Dead, on_result
from taskqueue.task.decode import Failed, Task
from taskqueue.task.message import Message
from taskqueue.task.result import Result
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way

POLICY = QueueSettings("default", jitter=0, base_url="http://base.example")
HERE = f"{__name__}:"


class Elsewhere(Handler):
    """Sends every request to a place of its own."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Take the URL from the metadata."""
        return replace(request, url=task.metadata["url"])


def decided(result: Result, **changes: Any) -> Any:
    """Decide what becomes of a task that never had a limit."""
    return on_result(a_task("http://a/", **changes), result, POLICY, now=0, spread=0)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("http://user:secret@127.0.0.1/x", {}, "url refused: holds credentials"),
    ("http://secret@127.0.0.1/x", {}, "url refused: holds credentials"),
    ("http://user:secret/word@127.0.0.1/x", {}, "url refused: not a host and port: 'user'"),
    ("http://user:99999/secret@127.0.0.1/x", {}, "url refused: port must be from 1 to 65535: 'user'"),
    ("http://user:se cret@127.0.0.1/x", {}, "url refused: holds a space"),
    ("http:/user:secret@127.0.0.1/x", {}, "url refused: must begin with"),
    ("http://a..b/x", {}, "url refused: not a host name: 'a..b'"),
    ("http://[fe80::1%25eth0]/", {}, "url refused: names an interface"),
    ("http://\U0001f4a9.example/", {}, "url refused: not a host name"),
    ("/path", {"base_url": None}, "url refused: '/path' is a path"),
]
METADATA: list[tuple[dict[str, Any], str]] = [
    ({"method": "HEAD"}, "metadata.method: must be one of"),
    ({"method": "TRACE"}, "metadata.method: must be one of"),
    ({"method": 5}, "metadata.method: must be one of"),
    ({"headers": {"X-Count": 5}}, "metadata.headers: 'X-Count' must be a text, got int"),
    ({"headers": {"X-Count": None}}, "metadata.headers: 'X-Count' must be a text"),
    ({"headers": "X: y"}, "metadata.headers: must be an object"),
    ({"headers": {"X": "a\nb"}}, "metadata.headers: 'X' holds a line end"),
    ({"headers": {"Host": "x"}}, "metadata.headers: header Host can't be set"),
    (
        {"headers": {"Taskqueue-Id": "x"}},
        "metadata.headers: headers Taskqueue-… and Idempotency-Key can't be",
    ),
    ({"on_success": "gopher://x/"}, "metadata.on_success: url: must have the scheme"),
    ({"on_success": "http://user:secret@x/"}, "metadata.on_success: url: holds credentials"),
    ({"on_success": {}}, "metadata.on_success: must be a URL"),
]


@pytest.mark.parametrize(("url", "settings", "error"), WRONG)
@pytest.mark.parametrize("per_host", [None, 1])
def test_a_url_that_nobody_can_ask_makes_the_task_invalid(
    url: str, settings: dict[str, Any], error: str, per_host: int | None
) -> None:
    """It is dead at once, without a run, and no part of a password is told."""
    with executing(**{"base_url": "http://base.example", "per_host": per_host, **settings}) as run:
        result = run(url, runs=3)
    assert result.error is not None
    assert result.error.startswith(error)
    assert not any(part in result.error for part in ("cret", "word", "99999"))
    assert decided(result, runs=3) == Dead("invalid", result.error, 3)


@pytest.mark.parametrize(("metadata", "error"), METADATA)
def test_metadata_that_nobody_can_use_make_the_task_invalid(metadata: dict[str, Any], error: str) -> None:
    """No request is made, and no other attempt."""
    with Peer(answering()) as peer, executing(handlers=("headers", "callback")) as run:
        result = run(peer.url, metadata=metadata)
    assert result.error is not None
    assert error in result.error
    assert "secret" not in result.error
    assert decided(result) == Dead("invalid", result.error, 0)
    assert not peer.visits


def test_an_invalid_task_stays_as_it_was_and_is_not_rolled_back() -> None:
    """Its message goes to the dead queue byte for byte: it is a mistake to be mended and replayed."""
    task = a_task("http://user:secret@a/", roll_back="/undo")
    message = Message(
        json.dumps({"url": task.url, "roll_back": "/undo"}).encode(), {}, {"message_id": task.id}
    )
    with executing() as run:
        decision = decided(run(task.url))
    (dead,) = successors(message, task, decision, way=Way("default", "default"), now=0)
    assert dead.exchange == "default.dead"
    assert dead.message.body == message.body
    assert dead.message.headers["taskqueue-reason"] == "invalid"
    assert "secret" not in str(dead.message.headers)


@pytest.mark.parametrize(
    ("settings", "url", "metadata"),
    [
        ({"allow_hosts": ("a.example",)}, "http://b.example/", {}),
        ({"deny_networks": ("127.0.0.0/8",)}, "http://127.0.0.1/", {}),
        ({}, "http://x.invalid/", {}),
        ({"handlers": (HERE + "Elsewhere",)}, "http://a/", {"url": "http://a..b/"}),
        ({"handlers": (HERE + "Elsewhere",)}, "http://a/", {"url": "http://user:secret@b/"}),
        ({"handlers": (HERE + "Elsewhere",)}, "http://a/", {}),
    ],
)
def test_what_somebody_else_may_mend_is_tried_again(
    settings: dict[str, Any], url: str, metadata: dict[str, Any]
) -> None:
    """The ini, the network, a handler's code: the task is not wrong for their sake."""
    with executing(**settings) as run:
        result = run(url, metadata=metadata)
    assert result.status is None
    assert "secret" not in str(result.error)
    assert isinstance(decided(result), Again)


def test_a_redirect_to_nowhere_is_the_receivers_fault() -> None:
    """A receiver can't make a task invalid."""
    moved = b"HTTP/1.1 302 x\r\nLocation: http://a..b/\r\nContent-Length: 0\r\n\r\n"
    with Peer(answering(moved)) as peer, executing(follow_redirects=True) as run:
        result = run(peer.url)
    assert result.status == 302
    assert isinstance(decided(result), Again)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://user:secret@a.example/x?y=1", "http://a.example/x?y=1"),
        ("//user:secret@a.example/x?y=1", "//a.example/x?y=1"),
        ("http://user:secret/word@a.example/x", "http://a.example/x"),
        ("https://a.example/users/@me?at=a@b", "https://a.example/users/@me?at=a@b"),
        ("/users/@me?at=a@b", "/users/@me?at=a@b"),
        ("https://a.example/ü?token=1", "https://a.example/%C3%BC?token=1"),
    ],
)
def test_a_roll_back_is_told_no_password(url: str, told: str) -> None:
    """Taskqueue-Failed-Url is the failed task's URL as it was, but for a login in it."""
    with Peer(answering()) as peer, executing() as run:
        assert run(peer.url, failed=Failed("id-0", url, "expired: expired 1.0 s ago")).status == 200
    assert headers(peer.requests[0])["taskqueue-failed-url"] == told
