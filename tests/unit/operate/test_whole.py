"""A whole message for people and for programs: no notation of Python in either."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from taskqueue.operate import whole as record
from taskqueue.task.message import Message

VALUES: list[tuple[Any, Any, str | None]] = [
    ("text", "text", "text"),
    ("it's", "it's", "it's"),
    (7, 7, "7"),
    (1.5, 1.5, "1.5"),
    (True, True, "true"),
    (None, None, None),
    ([1, "a", None], [1, "a", None], '[1, "a", null]'),
    ({"a": {"ü": True}}, {"a": {"ü": True}}, '{"a": {"ü": true}}'),
    ({}, {}, "{}"),
    (b"bytes", "bytes", "bytes"),
    ([b"bytes"], ["bytes"], '["bytes"]'),
    (Decimal("1.50"), "1.50", "1.50"),
    (math.nan, "nan", "nan"),
    ([-math.inf], ["-inf"], '["-inf"]'),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00", "2026-01-02T03:04:05+00:00"),
]


@pytest.mark.parametrize(("value", "document", "line"), VALUES)
def test_whatever_a_header_holds_is_json_or_plain_text(value: Any, document: Any, line: str | None) -> None:
    """For programs, and for people."""
    message = Message(b"{}", {"h": value}, {"message_id": "m", "priority": 5})
    assert list(record.lines(message)) == [("property priority", "5"), ("header h", line), ("body", "{}")]
    found = record.document(message)
    assert found["headers"] == {"h": document}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_deaths_that_the_broker_writes_are_json() -> None:
    """A list of tables, the longest header there is."""
    deaths = [{"count": 1, "queue": "q.wait.1s", "time": datetime(2026, 1, 2, tzinfo=UTC), "exchange": ""}]
    line = dict(record.lines(Message(b"{}", {"x-death": deaths}, {})))["header x-death"]
    assert json.loads(line or "") == [
        {"count": 1, "queue": "q.wait.1s", "time": "2026-01-02T00:00:00+00:00", "exchange": ""}
    ]


def test_no_login_in_a_url_is_shown() -> None:
    """Wherever in the message it stands; what is stored stays, and JSON says that it is another."""
    url = "http://u:SECRET@h/x"
    message = Message(
        f'{{"url": "{url}"}}'.encode(), {"a": url, "b": [{"c": url.encode()}]}, {"reply_to": url}
    )
    assert "SECRET" not in str(list(record.lines(message)))
    found = record.document(message)
    assert "SECRET" not in json.dumps(found)
    assert (found["body"], found["body_redacted"]) == ('{"url": "http://h/x"}', True)
    assert b"SECRET" in message.body
    odd = record.document(Message(b'\xff{"url": "http://u:SECRET@h/x"}', {}, {}))
    assert base64.b64decode(odd["body_base64"]) == b'\xff{"url": "http://h/x"}'
    assert record.document(Message(b'{"a": "b@c"}', {}, {}))["body_redacted"] is False


def test_a_body_is_what_it_is() -> None:
    """With escapes for what is no text."""
    assert dict(record.lines(Message(b'{"a": "\xc3\xbc\xff"}', {}, {})))["body"] == '{"a": "ü\\xff"}'
