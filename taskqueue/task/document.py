"""The JSON object in a message's body: each value beside its own text in the body.

Another language may write numbers with more digits than Python keeps, and a value that is written again may
be longer than before. So what goes out again goes out as it came.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.task.fields import shown

AS_WRITTEN = "payload"
"""The member that is sent on and never read. Its numbers may be of any size, so the value here is rough."""
_BOM = "\ufeff"
# Matches any text, also an empty one.
_skip: Callable[[str, int], re.Match[str]] = re.compile(r"[ \t\n\r]*").match  # type: ignore[assignment]
_plain_key = re.compile(r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*').match


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        # Such numbers all read as infinity, which JSON can't write.
        msg = f"{text[:20]} is too large a number"
        raise ValueError(msg)
    return value


def _not_json(name: str) -> None:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


_read_value = json.JSONDecoder(parse_float=_finite, parse_constant=_not_json).raw_decode
# float reads whole numbers of any length, which int refuses beyond 4,300 digits.
_rough = json.JSONDecoder(parse_int=float, parse_constant=_not_json)
_read_roughly = _rough.raw_decode


@dataclass(slots=True)
class Document:
    """The members of an object. Where several have the same name, the last one counts."""

    values: dict[str, Any]
    _text: str
    _places: dict[str, tuple[int, int]]

    def written(self, name: str) -> bytes:
        """Give the value of a member as it stands in the body."""
        start, end = self._places[name]
        return self._text[start:end].encode()


def read(body: bytes) -> Document:
    """Read a JSON object; raises InvalidTask that says what the body is instead."""
    try:
        text = body.decode()
        document = _members(text, 1 if text.startswith(_BOM) else 0)
        if document is None:
            other = _rough.decode(text.removeprefix(_BOM))
            raise InvalidTask("body", f"must be a JSON object, got {shown(other)}")
    except UnicodeDecodeError as error:
        raise InvalidTask("body", f"is not UTF-8: byte {error.start} is {body[error.start]:#04x}") from error
    except RecursionError as error:
        raise InvalidTask("body", "is nested too deeply") from error
    except ValueError as error:
        raise InvalidTask("body", f"is not JSON: {error}, got {shown(body[:60])}") from error
    return document


def _members(text: str, at: int) -> Document | None:
    """Read the members one by one; None where the text is not a JSON object."""
    values: dict[str, Any] = {}
    places: dict[str, tuple[int, int]] = {}
    at = _skip(text, at).end()
    if text[at : at + 1] != "{":
        return None
    at = _skip(text, at + 1).end()
    more = text[at : at + 1] != "}"
    while more:
        if found := _plain_key(text, at):
            name, at = found[1], found.end()
        elif (unusual := _key(text, at)) is not None:
            name, at = unusual
        else:
            return None
        values[name], end = (_read_roughly if name == AS_WRITTEN else _read_value)(text, at)
        places[name] = at, end
        at = _skip(text, end).end()
        mark = text[at : at + 1]
        more = mark == ","
        if more:
            at += 1
        elif mark != "}":
            return None
    at = _skip(text, at + 1).end()
    return Document(values, text, places) if at == len(text) else None


def _key(text: str, at: int) -> tuple[str, int] | None:
    """Read a key with escapes in it, up to its value."""
    at = _skip(text, at).end()
    if text[at : at + 1] != '"':
        return None
    name, at = _read_value(text, at)
    at = _skip(text, at).end()
    if text[at : at + 1] != ":":
        return None
    return name, _skip(text, at + 1).end()
