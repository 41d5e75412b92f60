"""Writes a whole message for people and for programs: properties, headers and body."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from taskqueue.operate import browse
from taskqueue.task.message import Message


def document(message: Message) -> dict[str, Any]:
    """Give a message as JSON. A body that is not UTF-8 is in `body_base64`, and `body` is null."""
    body = _text(message.body)
    found: dict[str, Any] = {
        "properties": _json(message.properties),
        "headers": _json(message.headers),
        "body": body,
    }
    if body is None:
        found["body_base64"] = base64.b64encode(message.body).decode("ascii")
    return found


def lines(message: Message) -> Iterator[tuple[str, str | None]]:
    """Give a message as named lines: what others may have called as they like is `property …`, `header …`."""
    for name, value in message.properties.items():
        if name != "message_id":
            yield f"property {name}", _line(value)
    for name, value in message.headers.items():
        yield f"header {browse.text(name)}", _line(value)
    yield "body", message.body.decode(errors="backslashreplace")


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
        return {browse.text(name): _json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int | float | None):
        return value
    return browse.text(value) if isinstance(value, str | bytes) else str(value)
