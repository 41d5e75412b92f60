"""What was sent runs against the application itself, by the requests that a consumer would make."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import flask
import pytest
from standardwebhooks import Webhook

from taskqueue.testing import RecordingClient

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Start = Any


@pytest.fixture
def client() -> RecordingClient:
    """Give a client that records."""
    return RecordingClient()


def echo(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
    """Answer with what came."""
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["body"] = environ["wsgi.input"].read().decode()
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


async def asgi_echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with what came, in two parts, and in the thread of the loop."""
    event = await receive()
    told = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
        "body": event["body"].decode(),
        "thread": threading.get_ident(),
    }
    answer = json.dumps(told).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Kind", b"echo")]})
    await send({"type": "http.response.body", "body": answer[:5], "more_body": True})
    await send({"type": "http.response.body", "body": answer[5:]})


def test_a_wsgi_application_gets_the_request_of_the_consumer(client: RecordingClient) -> None:
    """Method, path, query, body and every header."""
    sent = client.send(
        "/caf%C3%A9?a=1",
        {"user": 7},
        queue="mail",
        metadata={"method": "PUT", "headers": {"X-Tenant": "acme"}},
    )
    (answered,) = client.run_wsgi(echo)
    assert (answered.status, answered.succeeded, answered.error) == (200, True, None)
    assert answered.task.id == sent
    told = json.loads(answered.body)
    assert (told["REQUEST_METHOD"], told["QUERY_STRING"], told["body"]) == ("PUT", "a=1", '{"user":7}')
    assert told["PATH_INFO"].encode("latin-1").decode() == "/café"
    assert (told["CONTENT_TYPE"], told["CONTENT_LENGTH"]) == ("application/json", "10")
    assert (told["HTTP_TASKQUEUE_ID"], told["HTTP_TASKQUEUE_QUEUE"]) == (sent, "mail")
    assert (told["HTTP_HOST"], told["HTTP_TASKQUEUE_ATTEMPT"]) == ("testserver", "1")
    assert told["HTTP_X_TENANT"] == "acme"


def test_an_asgi_application_runs_in_the_loop_of_the_test(client: RecordingClient) -> None:
    """So that its database sessions and clients work."""
    sent = client.send("/x?a=1", {"user": 7})

    async def runs() -> int:
        (answered,) = await client.run_asgi(asgi_echo)
        told = json.loads(answered.body)
        assert (told["method"], told["path"], told["query"]) == ("POST", "/x", "a=1")
        assert told["body"] == '{"user":7}'
        assert told["headers"]["taskqueue-id"] == sent
        assert answered.headers == {"x-kind": "echo"}
        assert told["thread"] == threading.get_ident()
        return answered.status or 0

    assert asyncio.run(runs()) == 200


def test_a_flask_application_runs_as_it_is(client: RecordingClient) -> None:
    """It sends a task itself, which is for the next call."""
    app = flask.Flask("an_application")

    @app.post("/pay")
    def pay() -> str:
        client.send("/paid", {"receipt": flask.request.json["amount"]})
        return "ok"

    @app.post("/paid")
    def paid() -> tuple[str, int]:
        return "not yet", 503

    client.send("/pay", {"amount": 3})
    assert [each.succeeded for each in client.run_wsgi(app)] == [True]
    (second,) = client.run_wsgi(app)
    assert (second.task.payload, second.status, second.succeeded) == ({"receipt": 3}, 503, False)
    assert client.run_wsgi(app) == []


def test_they_run_in_the_order_in_which_they_are_due(client: RecordingClient) -> None:
    """Whenever that is: nobody waits in a test."""
    for url, countdown in (("/late", 3600), ("/now", None), ("/soon", 20)):
        client.send(url, countdown=countdown)
    assert [each.task.url for each in client.run_wsgi(echo)] == ["/now", "/soon", "/late"]


def test_a_task_for_somebody_else_is_left_alone(client: RecordingClient) -> None:
    """The application under test is not the only receiver."""
    client.send("https://api.example.com/x")
    client.send("http://testserver/mine")
    assert [each.task.url for each in client.run_wsgi(echo)] == ["http://testserver/mine"]


def test_the_settings_are_those_of_the_ini(client: RecordingClient, tmp_path: Path) -> None:
    """Base URL, handlers, secrets, and what counts as a success."""
    path = tmp_path / "taskqueue.ini"
    path.write_text(
        "[mail]\nbase_url = https://app.example.com/tasks\nhandlers = headers, signing\n"
        f"signing_secret = {SECRET}\nsuccess_status = 202\n"
    )
    client.send("/x", {"a": 1}, queue="mail")
    (answered,) = client.run_wsgi(echo, path)
    told = json.loads(answered.body)
    assert not answered.succeeded
    assert (told["HTTP_HOST"], told["PATH_INFO"]) == ("app.example.com", "/tasks/x")
    headers = {
        name[5:].lower().replace("_", "-"): value for name, value in told.items() if name[:5] == "HTTP_"
    }
    Webhook(SECRET).verify(told["body"].encode(), headers)


def test_what_an_application_raises_is_raised_in_the_test(client: RecordingClient) -> None:
    """With its own traceback, as it would be in a direct call."""

    def broken(_environ: dict[str, Any], _start: Start) -> Iterable[bytes]:
        raise ZeroDivisionError

    async def asgi_broken(_scope: dict[str, Any], _receive: Any, _send: Any) -> None:
        raise ZeroDivisionError

    client.send("/x")
    with pytest.raises(ZeroDivisionError):
        client.run_wsgi(broken)
    client.send("/x")
    with pytest.raises(ZeroDivisionError):
        asyncio.run(client.run_asgi(asgi_broken))


def test_a_task_that_can_not_be_run_says_why(client: RecordingClient) -> None:
    """No request is made for it: here its own headers fit, and not together with ours."""
    client.send("/x", metadata={"headers": {f"X-{number}": "" for number in range(100)}})
    (answered,) = client.run_wsgi(echo)
    assert (answered.status, answered.succeeded) == (None, False)
    assert answered.error is not None
    assert "more than 100 headers" in answered.error
