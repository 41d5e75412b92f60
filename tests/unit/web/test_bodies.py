"""A message on the page: as it was written, and without what is secret."""

from __future__ import annotations

import json

import pytest

from taskqueue.task.message import Message
from taskqueue.web.bodies import shown


def test_numbers_and_texts_are_shown_as_they_were_written() -> None:
    """A member a line."""
    found = shown(Message(b'{"url":"/x","payload":{"n":1.50,"t":"\xc3\xbc"},"eta":1e3}', {}, {}))
    assert found.body == '{\n  "url": "/x",\n  "payload": {"n":1.50,"t":"ü"},\n  "eta": 1e3\n}'
    assert (found.hidden, found.cut, found.bytes) == (False, False, 52)


@pytest.mark.parametrize(
    "document",
    [
        {"url": "http://user:SECRET@host/x"},
        {"url": "/x", "metadata": {"headers": {"Authorization": "Bearer SECRET", "X-Plain": "plain"}}},
        {"url": "/x", "metadata": {"headers": {"X-Api-Key": "SECRET"}, "plain": "plain"}},
        {"url": "/x", "metadata": {"token": "SECRET"}},
        {
            "url": "/x",
            "metadata": {"on_success": {"url": "/y", "metadata": {"headers": {"Cookie": "SECRET"}}}},
        },
        {"url": "/x", "metadata": {"list": [{"password": "SECRET"}]}},
        {"url": "/x", "metadata": "Authorization: SECRET"},
        {"url": "/x", "metadata": {"headers": ["Authorization", "SECRET"], "plain": "plain"}},
        {"url": "/x", "payload": '{"callback": "https://a:SECRET@h/"}'},
    ],
)
def test_no_secret_is_shown(document: dict[str, object]) -> None:
    """Neither a login in a URL nor a header that may be a credential; that something is hidden is told."""
    found = shown(Message(json.dumps(document).encode(), {}, {}))
    assert "SECRET" not in found.body
    assert found.hidden
    assert ("plain" in json.dumps(document)) == ("plain" in found.body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"url": "/x", "metadata": {"headers": {"Authorization": "Bearer \\"SECRET", "X": "plain"}},}',
        b"{'url': '/x', 'metadata': {'headers': {'Cookie': 'SECRET', 'X': 'plain'}}}",
        b'[{"headers": {"Authoriz\\u0061tion": ["SECRET"], "X": "plain"}}]',
        b'{"token": SECRET, "X": "plain", "password": {"a": "SECRET"}, "cookie": "SECRET',
    ],
)
def test_no_secret_is_shown_of_what_is_no_task(body: bytes) -> None:
    """What can't be read as JSON has them all the same."""
    found = shown(Message(body, {}, {}))
    assert "SECRET" not in found.body
    assert "plain" in found.body
    assert found.hidden


def test_headers_of_a_message_may_be_secret_too() -> None:
    """By their names, in a table too."""
    headers = {"x-auth-token": "SECRET", "x-plain": "http://u:SECRET@h/", "table": {"cookie": "SECRET"}}
    found = shown(Message(b"{}", headers, {"priority": 1}))
    assert dict(found.fields) == {
        "property priority": "1", "header x-auth-token": "(hidden)", "header x-plain": "http://h/",
        "header table": '{"cookie": (hidden)}',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"\xff\x00<b>", "\\xff\x00<b>"),
        (b"[1]", "[1]"),
        (b"{}", "{}"),
        (b'{"a":' * 5000, None),
        (b'{"url":"\\ud800"}', '{\n  "url": "\\ud800"\n}'),
        (b'{"\\ud800":1}', '{\n  "\\ud800": 1\n}'),
        (b'"http://u:SECRET@h/"', '"http://h/"'),
    ],
)
def test_whatever_is_in_a_queue_can_be_shown(body: bytes, text: str | None) -> None:
    """No JSON, no text, or half a character."""
    found = shown(Message(body, {}, {}))
    found.body.encode()
    assert text is None or found.body == text


def test_a_long_body_is_cut() -> None:
    """And that is told."""
    found = shown(Message(b'{"payload":"%s"}' % (b"x" * 300_000), {}, {}))
    assert found.cut
    assert len(found.body) == 200_000
