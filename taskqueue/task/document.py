"""The JSON object in a message's body: each value beside its own text in the body.

Another language may write numbers with more digits than Python keeps, and a value that is written again may
be longer than before. So what goes out again goes out as it came.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from taskqueue.errors import InvalidTask
from taskqueue.task.fields import shown

AS_WRITTEN = "payload"
"""The member that is sent on and never read. Its numbers may be of any size, so the value here is rough."""
_BOM = "\ufeff"
# Matches any text, also an empty one.
_skip: Callable[[str, int], re.Match[str]] = re.compile(r"[ \t\n\r]*").match  # type: ignore[assignment]
_plain_key = re.compile(r'[ \t\n\r]*"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*').match


_LONGEST_WHOLE = 640
"""Digits that Python reads and writes under any setting of its own (``sys.set_int_max_str_digits``)."""
_LARGEST_WHOLE = 10**_LONGEST_WHOLE
_MARK = uuid.uuid4().hex
"""Stands before a number in a text while it is written. Nobody else can know it."""
_marked_number = re.compile(rf'"{_MARK}([-+.0-9eE]+)"').sub


class Number(float):
    """A number of whose text Python keeps less: ``1.50``, or one of a thousand digits."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """Read it roughly; infinity where it is too large."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # what a copy is made of
        return (self.text,)

    def __repr__(self) -> str:
        return self.text


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_WHOLE else Number(text)


def _number(text: str) -> float:
    value = float(text)
    return value if repr(value) == text else Number(text)


def _not_json(name: str) -> None:
    msg = f"{name} is not a JSON number"
    raise ValueError(msg)


_exact = json.JSONDecoder(parse_int=_whole, parse_float=_number, parse_constant=_not_json)
_read_value = _exact.raw_decode
# float reads whole numbers of any length, which int refuses beyond 4,300 digits.
_rough = json.JSONDecoder(parse_int=float, parse_constant=_not_json)
_read_roughly = _rough.raw_decode


def value_of(text: str) -> Any:
    """Read any JSON value, its numbers as a Number where Python would lose something; raises ValueError.

    Raises RecursionError where it is nested too deeply.
    """
    return _exact.decode(text)


def write(document: Mapping[str, Any], *, copied: bool) -> str:
    """Write an object as JSON; raises InvalidTask where a value has no JSON.

    Each Number is written as it came; in the payload only where it may be `copied` from a task.
    """
    try:
        try:
            marked = {
                name: _marked(value) if copied or name != AS_WRITTEN else value
                for name, value in document.items()
            }
            text = _dump(marked)
        except ValueError:
            # Perhaps a whole number of the payload has more digits than the json module writes.
            text = _dump(_marked(document))
    except RecursionError as error:
        raise _unwritable("is nested too deeply, or holds itself") from error
    except ValueError as error:
        raise _unwritable("holds NaN, an infinity, or itself") from error
    except TypeError as error:
        raise _unwritable("holds a name in an object that is no text") from error
    return _marked_number(r"\1", text) if _MARK in text else text


def _dump(value: Any) -> str:
    return json.dumps(
        value, allow_nan=False, separators=(",", ":"), ensure_ascii=False, default=_without_json
    )


def _without_json(value: object) -> None:
    raise _unwritable(f"holds a {type(value).__name__}, for which JSON has no word")


def _unwritable(why: str) -> InvalidTask:
    return InvalidTask("message", f"can't be written as JSON: it {why}")


def _marked(value: Any) -> Any:
    """Copy a value with a text in place of each number that the json module would change or refuse."""
    if isinstance(value, dict):
        return {key: _marked(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(each) for each in value]
    if isinstance(value, Number):
        return f"{_MARK}{value.text}"
    if type(value) is int and not -_LARGEST_WHOLE < value < _LARGEST_WHOLE:
        # Not str, which refuses so many digits.
        return f"{_MARK}{Decimal(value)}"
    return value


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
    except UnicodeDecodeError as error:
        raise InvalidTask("body", f"is not UTF-8: byte {error.start} is {body[error.start]:#04x}") from error
    try:
        document = _members(text, 1 if text.startswith(_BOM) else 0)
        if document is None:
            other = _rough.decode(text.removeprefix(_BOM))
            raise InvalidTask("body", f"must be a JSON object, got {shown(other)}")
    except RecursionError as error:
        raise InvalidTask("body", "is nested too deeply") from error
    except ValueError as error:
        raise InvalidTask("body", f"is not JSON: {error}, got {shown(text)}") from error
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
