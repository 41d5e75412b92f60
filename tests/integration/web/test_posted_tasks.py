"""`POST /queues/Q/tasks`: what is sent is the message of the queue, and the answer is true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from sandbox.receiver import Receiver
from taskqueue.settings import parse
from tests.support.stage import Stage
from tests.support.visited import TOKEN, Visitor, served

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = BEARER | {"Content-Type": "application/json"}
AWAY = parse("server = amqp://user:SECRET@127.0.0.1:9/\n[q]\n", source="ini", environ={})
"""A site without a broker."""


def post(visitor: Visitor, queue: str, body: Any, **headers: str) -> urllib3.BaseHTTPResponse:
    """Send a task as a program does."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return visitor.ask("POST", f"/queues/{queue}/tasks", data, given)


@pytest.fixture
def visitor(stage: Stage) -> Iterator[Visitor]:
    """Give somebody who has not logged in."""
    with served(stage.settings) as visitor:
        yield visitor


def test_a_task_runs_as_it_was_written_under_its_key(
    stage: Stage, visitor: Visitor, receiver: Receiver
) -> None:
    """Numbers digit for digit; at once, or when it is due; an id is made where no key is given."""
    body = b'{"url": "/now", "payload": {"n": 1.50, "big": 12345678901234567890123}, "more": 1}'
    answer = post(visitor, stage.name, body, Idempotency_Key="key-1", traceparent=TRACE)
    assert (answer.status, answer.json()) == (202, {"id": "key-1", "queue": stage.name})
    later = post(visitor, stage.name, {"url": "/later", "countdown": 60}).json()["id"]
    assert len(later) == 32
    assert (stage.depth(), stage.waiting()) == (1, 1)
    stage.consume()
    (request,) = receiver.wait_for(1)
    assert request.body == b'{"n": 1.50, "big": 12345678901234567890123}'
    assert request.headers["Taskqueue-Id"] == "key-1"


WRONG: list[tuple[Any, str, str | None]] = [
    ({"url": "/x", "countdown": "3"}, "countdown", "'3'"),
    ({"url": "/x", "countdown": -1}, "countdown", "-1"),
    ({"url": "/x", "countdown": 1, "eta": 2}, "eta", "2"),
    ({"url": "/x", "max_retries": 1.5}, "max_retries", "1.5"),
    ({"url": "/x", "metadata": [1]}, "metadata", "list"),
    ({"url": "/x", "metadata": {"headers": {"X": "a\nb"}}}, "metadata.headers", None),
    ({"url": "ftp://x/"}, "url", "'ftp://x/'"),
    ({"url": "http://user:SECRET@host/"}, "url", "'http://host/'"),
    ({"payload": {}}, "url", None),
    ({"url": "/x", "queue": "nowhere"}, "queue", "'nowhere'"),
    (b"[1]", "body", None),
    (b'{"url": "/x"', "body", None),
    (b"\xff", "body", None),
    (b'{"a":' * 100_000, "body", None),
]
"""What is no task, the field that says so, and its value."""


def test_what_is_no_task_is_refused_with_its_field(stage: Stage, visitor: Visitor) -> None:
    """And its value, without a login; nothing is sent."""
    for body, field, value in WRONG:
        answer = post(visitor, stage.name, body)
        assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json"), body
        said = answer.json()
        assert (said["field"], said["value"], said["status"]) == (field, value, 400)
        assert b"SECRET" not in answer.data
    assert (stage.depth(), stage.waiting()) == (0, 0)


def test_other_faults_have_their_status(stage: Stage, visitor: Visitor) -> None:
    """Without the token, or with a session alone; too much; not JSON; no such queue; not a POST."""
    path = f"/queues/{stage.name}/tasks"
    kind = {"Content-Type": "application/json"}
    answer = visitor.ask("POST", path, b'{"url": "/x"}', kind)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    session = Visitor(visitor.base)
    session.login()
    assert session.ask("POST", path, b'{"url": "/x"}', kind).status == 401
    assert post(visitor, "nowhere", {"url": "/x"}).status == 404
    assert post(visitor, stage.name, {"url": "/x"}, Content_Type="text/plain").status == 415
    assert visitor.ask("GET", path, headers=BEARER).status == 405
    for key in ("k" * 256, ""):
        answer = post(visitor, stage.name, {"url": "/x"}, Idempotency_Key=key)
        assert answer.status == 400, answer.data
    large = b'{"url": "/x", "payload": "%s"}' % (b"x" * (16 * 2**20))
    assert post(visitor, stage.name, large).status == 413
    assert (
        visitor.ask("POST", path, (large[at : at + 2**20] for at in range(0, len(large), 2**20)), JSON).status
        == 413
    )
    assert stage.depth() == 0


def test_while_the_broker_is_away_it_says_when_to_come_again() -> None:
    """Or while nothing is declared: 503, and never 202."""
    with served(AWAY) as visitor:
        answer = post(visitor, "q", {"url": "/x"})
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "no broker" in answer.json()["detail"]
        assert b"SECRET" not in answer.data


def test_what_is_not_declared_is_no_fault_of_the_task(stage: Stage, visitor: Visitor) -> None:
    """503, with what to do; others go on meanwhile."""
    with stage.connection() as connection:
        channel = connection.channel()
        channel.exchange_delete(f"{stage.name}.wait")
        channel.exchange_delete(f"{stage.name}.wait.due")
    answer = post(visitor, stage.name, {"url": "/x"})
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "taskqueue declare" in answer.json()["detail"]


def test_its_description_can_be_had_by_everybody() -> None:
    """Without the token, and whatever the broker does."""
    with served(AWAY) as visitor:
        found = visitor.ask("GET", "/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    assert set(found["paths"]) == {"/queues/{queue}/tasks"}
