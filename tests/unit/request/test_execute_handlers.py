"""Handlers: found, made, kept within bounds; and those that are built in."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from taskqueue.errors import ConfigError, InvalidTask
from taskqueue.handlers import Answer, Handler, Request, Verdict
from taskqueue.request.handlers.chain import Chain
from taskqueue.request.handlers.headers import Headers
from taskqueue.request.handlers.loading import load
from taskqueue.request.handlers.rules import HandlerError, check
from taskqueue.request.handlers.signing import Signing
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task
from taskqueue.task.document import value_of

QUEUE = QueueSettings("q")
OURS = {"Content-Type": "application/json", "Taskqueue-Id": "id-1", "Idempotency-Key": "id-1"}
REQUEST = Request("POST", "http://a/", OURS, b'{"a":1}')


def task(metadata: Mapping[str, Any] | None = None, **changes: Any) -> Task:
    """Make a task with metadata."""
    values: dict[str, Any] = {
        "id": "id-1", "url": "http://a/", "content": b"{}", "due": 0, "runs": 0, "max_retries": None,
        "expires": None, "roll_back": None, "queue": None, "metadata": metadata or {}, "first_seen": 0,
        "error": None, "failed": None, "unknown": (),
    }  # fmt: skip
    return Task(**{**values, **changes})


class Custom(Handler):
    """A handler of somebody else."""


class Picky(Handler):
    """A handler that needs what is not there."""

    def __init__(self, settings: QueueSettings) -> None:
        super().__init__(settings)
        msg = "no key"
        raise ValueError(msg)


NOT_A_HANDLER = object()
ANYTHING: Any = 1


def test_a_request_is_changed_by_replacing_it() -> None:
    """Headers are found and replaced whatever their case, and the first request stays as it was."""
    changed = REQUEST.with_headers({"content-type": "text/plain", "X": "y"})
    assert (changed.header("Content-Type"), changed.header("x")) == ("text/plain", "y")
    assert len(changed.headers) == 4
    assert (REQUEST.header("CONTENT-TYPE"), REQUEST.header("x")) == ("application/json", None)


def test_without_metadata_the_request_is_the_same() -> None:
    """The usual task costs nothing."""
    handler = Headers(QUEUE)
    assert handler.prepare(REQUEST, task()) is REQUEST
    assert handler.prepare(REQUEST, task({"other": 1})) is REQUEST
    assert handler.prepare(REQUEST, task({"method": None, "headers": None})) is REQUEST


@pytest.mark.parametrize("empty", [{}, []])
def test_an_empty_array_of_headers_is_an_empty_object(empty: object) -> None:
    """PHP does not tell them apart when it writes JSON."""
    prepared = Headers(QUEUE).prepare(REQUEST, task({"method": "PUT", "headers": empty}))
    assert prepared == replace(REQUEST, method="PUT")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "put"])
def test_a_method_with_a_body_keeps_it(method: str) -> None:
    """PUT and PATCH carry the content as POST does."""
    prepared = Headers(QUEUE).prepare(REQUEST, task({"method": method}))
    assert prepared == replace(REQUEST, method=method.upper())


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_method_without_a_body_drops_it(method: str) -> None:
    """GET and DELETE carry no content and no Content-Type."""
    prepared = Headers(QUEUE).prepare(REQUEST, task({"method": method}))
    assert (prepared.method, prepared.body, prepared.header("content-type")) == (method, None, None)


def test_headers_are_set_and_made_safe() -> None:
    """Metadata set headers, replace the Content-Type, and are percent-encoded beyond ASCII."""
    metadata = {"headers": {"Authorization": "Bearer x", "content-type": "text/plain", "X-Name": "Zoë"}}
    prepared = Headers(QUEUE).prepare(REQUEST, task(metadata))
    check(prepared, REQUEST)
    assert prepared.header("authorization") == "Bearer x"
    assert prepared.header("content-type") == "text/plain"
    assert prepared.header("x-name") == "Zo%C3%AB"


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"method": "CONNECT"}, "metadata.method: must be one of GET, POST"),
        ({"method": "GET\r\n"}, "metadata.method: must be one of"),
        ({"method": 1}, "got int"),
        ({"headers": ["X: y"]}, "metadata.headers: must be an object of texts, got list"),
        ({"headers": {"X": 1}}, "'X' must be a text, got int"),
        ({"headers": {"X": None}}, "'X' must be a text, got NoneType"),
        ({"headers": {"X": "a\r\nEvil: b"}}, "'X' holds a line end or control character"),
        ({"headers": {"X\r\nEvil": "b"}}, "not a header name"),
        ({"headers": {"": "b"}}, "not a header name"),
        ({"headers": {"X Y": "b"}}, "not a header name"),
        ({"headers": {"X:": "b"}}, "not a header name"),
        ({"headers": {"host": "b"}}, "header host can't be set"),
        ({"headers": {"Content-Length": "0"}}, "can't be set"),
        ({"headers": {"transfer-encoding": "chunked"}}, "can't be set"),
        ({"headers": {"Connection": "close"}}, "can't be set"),
        ({"headers": {"Proxy-Authorization": "x"}}, "can't be set"),
        ({"headers": {"Upgrade": "h2c"}}, "can't be set"),
        ({"headers": {"taskqueue-id": "forged"}}, "can't be changed"),
        ({"headers": {"Taskqueue-Anything": "forged"}}, "can't be changed"),
        ({"headers": {"idempotency-key": "forged"}}, "can't be changed"),
        ({"headers": {f"X-{number}": "x" for number in range(101)}}, "more than 100 headers"),
    ],
)
def test_metadata_that_cannot_be_used_make_the_task_invalid(metadata: dict[str, Any], error: str) -> None:
    """What a message may not set, or sets wrongly, is said and not guessed."""
    with pytest.raises(InvalidTask) as caught:
        Headers(QUEUE).prepare(REQUEST, task(metadata))
    assert str(caught.value).startswith("metadata.")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    "request_",
    [
        None,
        replace(REQUEST, method="TRACE"),
        replace(REQUEST, url=ANYTHING),
        replace(REQUEST, body=ANYTHING),
        replace(REQUEST, headers={**OURS, "X": "a\nb"}),
        replace(REQUEST, headers={**OURS, "X": "€"}),
        replace(REQUEST, headers={**OURS, "X": ANYTHING}),
        replace(REQUEST, headers={**OURS, "X": "x" * 9000}),
        replace(REQUEST, headers={"Content-Type": "application/json"}),
    ],
)
def test_no_handler_can_break_the_request(request_: Any) -> None:
    """The bounds hold for everybody's handlers."""
    with pytest.raises(HandlerError):
        check(request_, REQUEST)


def test_signs_as_the_standard_says() -> None:
    """The signature is the HMAC-SHA256 of id, time and body; each secret gives one."""
    keys = [b"0123456789abcdef", b"another key of ours"]
    secrets = tuple(f"whsec_{base64.b64encode(key).decode()}" for key in keys)
    signing = Signing(QueueSettings("q", signing_secret=secrets), clock=lambda: 1_700_000_000.9)
    prepared = signing.prepare(REQUEST, task())
    assert prepared.header("webhook-id") == "id-1"
    assert prepared.header("webhook-timestamp") == "1700000000"
    expected = [
        "v1," + base64.b64encode(hmac.new(key, b'id-1.1700000000.{"a":1}', hashlib.sha256).digest()).decode()
        for key in keys
    ]
    assert prepared.header("webhook-signature") == " ".join(expected)


def test_signs_the_example_of_the_standard() -> None:
    """The vector of the reference libraries' own test comes out the same."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signing = Signing(QueueSettings("q", signing_secret=(secret,)), clock=lambda: 1_614_265_330)
    request = replace(REQUEST, body=b'{"test": 2432232314}')
    prepared = signing.prepare(request, task(id="msg_p5jXN8AQM9LWM0D4loKWxJek"))
    assert prepared.header("webhook-signature") == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secrets", [(), ("whsec_",), ("whsec_not base64!",), ("hidden ü",)])
def test_a_secret_that_cannot_sign_is_refused_unseen(secrets: tuple[str, ...]) -> None:
    """The error names the key and never its value."""
    with pytest.raises(ConfigError, match=r"queue q: .*signing_secret") as caught:
        load(QueueSettings("q", handlers=("signing",), signing_secret=secrets))
    assert "not base64" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("path", [f"{__name__}:Custom", f"{__name__}.Custom"])
def test_a_handler_is_found_by_its_path(path: str) -> None:
    """Both usual ways to write where a class lives are understood, in the order of the ini."""
    (first, headers), (second, custom) = load(QueueSettings("q", handlers=("headers", path)))
    assert (first, second) == ("headers", path)
    assert isinstance(headers, Headers)
    assert isinstance(custom, Custom)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("heders", "no handler has this name; there are .*headers.*signing"),
        ("no.such.module:X", "can't be loaded: ModuleNotFoundError"),
        (f"{__name__}:Missing", "can't be loaded: AttributeError"),
        (f"{__name__}:NOT_A_HANDLER", "must be a class derived from"),
        ("builtins:str", "must be a class derived from"),
        (f"{__name__}:Picky", "can't be made: ValueError: no key"),
        (":", "can't be loaded"),
        (".", "can't be loaded"),
    ],
)
def test_a_handler_that_cannot_be_had_is_told_at_once(name: str, error: str) -> None:
    """A queue with a wrong name in `handlers` doesn't begin."""
    with pytest.raises(ConfigError, match=error) as caught:
        load(QueueSettings("q", handlers=(name,)))
    assert f"queue q: handlers: {name}" in str(caught.value)


def test_a_handler_that_changes_nothing_has_no_opinion() -> None:
    """Both methods may be left out."""
    handler = Handler(QUEUE)
    assert handler.prepare(REQUEST, task()) is REQUEST
    assert handler.judge(Answer(200, {}, b"", whole=True), task()) is None
    assert Verdict() == Verdict(error=None, permanent=False)


@pytest.mark.parametrize("number", ["7" * 5000, "9007199254740993.25", "1.50", "1e999", "-1E-999"])
def test_a_number_goes_on_to_the_next_task_as_it_was_written(number: str) -> None:
    """Over metadata.on_success, which is written anew."""
    metadata = value_of(f'{{"on_success": {{"url": "/next", "metadata": {{"a": [{{"b": {number}}}]}}}}}}')
    chain = Chain(replace(QUEUE, handlers=("callback",), base_url="http://a"))
    (following,) = chain.follow(Answer(200, {}, b"", whole=True), task(metadata))
    assert following.body.endswith(f'"metadata":{{"a":[{{"b":{number}}}]}}}}'.encode())
