"""A whole message for people and for programs, without the logins in its URLs. Pure."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from taskqueue.operate import reading
from taskqueue.redact import without_logins
from taskqueue.task.message import Message


def document(message: Message) -> dict[str, Any]:
    """Give a message as JSON. A body that is not UTF-8 is in `body_base64`, and `body` is null.

    `body_redacted` tells whether a login has been left out of the body, which is not the stored one then.
    """
    # Latin-1 reads and writes any bytes.
    plain = without_logins(message.body.decode("latin-1")).encode("latin-1")
    body = _text(plain)
    found: dict[str, Any] = {
        "properties": _json(message.properties),
        "headers": _json(message.headers),
        "body": body,
        "body_redacted": plain != message.body,
    }
    if body is None:
        found["body_base64"] = base64.b64encode(plain).decode("ascii")
    return found


def lines(message: Message) -> Iterator[tuple[str, str | None]]:
    """Give a message as named lines: what others may have called as they like is `property …`, `header …`."""
    for name, value in message.properties.items():
        if name != "message_id":
            yield f"property {name}", _line(value)
    for name, value in message.headers.items():
        yield f"header {reading.text(name)}", _line(value)
    yield "body", without_logins(message.body.decode(errors="backslashreplace"))


def _line(value: Any) -> str | None:
    """Write a value for people: a text as it is, lists and tables as JSON."""
    plain = _json(value)
    return plain if isinstance(plain, str | None) else json.dumps(plain, ensure_ascii=False)


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _json(value: Any) -> Any:
    """Make JSON of what an AMQP table can hold."""
    if isinstance(value, Mapping):
        return {reading.text(name): _json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int | float | None):
        return value
    return without_logins(reading.text(value) or "") if isinstance(value, str | bytes) else str(value)
