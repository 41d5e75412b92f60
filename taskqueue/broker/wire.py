"""Turns pika's objects into ours and back, on a connection that no message can break."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pika
from pika import DeliveryMode, frame, spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.data import decode_table, encode_table
from pika.exceptions import InvalidFrameError

from taskqueue.task.message import PREFIX, Message, Publish

LARGEST_HEADERS = 64 * 2**10
"""Of another program. Ours are added to them, and one frame (128 KiB by default) must hold them all."""
LARGEST_OF_OURS = 24 * 2**10
"""The most that ours take, the URL of a failed task first: what was fit once stays fit when it comes back."""
_LARGEST_PROPERTIES = 2 * 2**10
"""More than the properties beside the headers can take: seven texts of 255 bytes."""
_LARGEST_NUMBER = 16
_LONGEST_CHARACTER = 4
_PROPERTIES = (
    "content_type",
    "content_encoding",
    "priority",
    "correlation_id",
    "reply_to",
    "message_id",
    "timestamp",
    "type",
    "app_id",
)
_UNREADABLE = "can't be decoded: a time past the year 9999, a number that is none, or too deep a nesting"
_FRAME_HEADER = struct.Struct(">BHL")
_CONTENT_HEADER = struct.Struct(">HHQ")
_FLAGS, _TABLE = struct.Struct(">H"), struct.Struct(">I")
_NO_TABLE = _TABLE.pack(0)


class HeadersTooLarge(ValueError):
    """Headers that no frame of the connection holds; the broker would end that over them."""


class FaultyProperties(pika.BasicProperties):
    """The properties of a message without those headers that could not be taken, and why."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault


class Tolerant:
    """Makes a connection of pika survive headers that pika can't decode.

    pika's decoder raises for timestamps past the year 9999, NaN and deep nesting. That would end the
    connection, bring the message back, and end the next connection too. This overrides the one place
    where pika reads a frame; tests/integration/consume/test_hostile_headers.py tests that.
    """

    def _read_frame(self) -> Any:
        data: bytes = self._frame_buffer  # type: ignore[attr-defined]  # the stubs leave it out
        try:
            size = _headers_size(data)
            frame_max = self.params.frame_max  # type: ignore[attr-defined]
            largest = _largest(frame_max)
            if size > largest and (PREFIX.encode() not in data[:size] or size > _room(frame_max)):
                return _with_less(data, f"must have at most {largest} bytes", largest // 2)
            return super()._read_frame()  # type: ignore[misc]  # of the connection that it is mixed into
        except InvalidFrameError:
            raise
        except Exception:
            if _headers_size(data) == 0:
                raise
            return _with_less(data, _UNREADABLE, 0)


class TolerantConnection(Tolerant, pika.SelectConnection):
    """A connection of the I/O thread."""


class TolerantAsyncio(Tolerant, AsyncioConnection):
    """A connection of a command."""


def _headers_size(data: bytes) -> int:
    """Give the size of the content header at the start of `data`, 0 where there is none yet."""
    if len(data) < _FRAME_HEADER.size:
        return 0
    kind, _, size = _FRAME_HEADER.unpack_from(data)
    whole = _FRAME_HEADER.size + size + 1
    return size if kind == spec.FRAME_HEADER and len(data) >= whole else 0


def _largest(frame_max: int) -> int:
    """Give the most that headers of another program may take, as they are sent on with ours beside them."""
    return min(LARGEST_HEADERS, frame_max * 3 // 4)


def _room(frame_max: int) -> int:
    """Give the most that headers may take with ours among them."""
    return min(LARGEST_HEADERS + LARGEST_OF_OURS, _within(frame_max))


def _within(frame_max: int) -> int:
    """Give what a frame holds."""
    return frame_max - _FRAME_HEADER.size - 1


def _with_less(data: bytes, fault: str, room: int) -> tuple[int, frame.Header]:
    """Read a content header without its table, or with what of that can be decoded and has room."""
    _, channel, size = _FRAME_HEADER.unpack_from(data)
    begin = _FRAME_HEADER.size + _CONTENT_HEADER.size
    encoded = data[begin : _FRAME_HEADER.size + size]
    _, _, body_size = _CONTENT_HEADER.unpack_from(data, _FRAME_HEADER.size)
    properties = FaultyProperties(fault)
    with suppress(Exception):
        before, table, after = _around_table(encoded)
        properties.decode(before + _NO_TABLE[: len(table)] + after)
        if room:
            properties.headers = fitting(decode_table(table, 0)[0], room)
    return begin - _CONTENT_HEADER.size + size + 1, frame.Header(channel, body_size, properties)


def _around_table(encoded: bytes) -> tuple[bytes, bytes, bytes]:
    """Split properties at the table of headers (AMQP 0-9-1, 4.2.6.1): that is the third of them."""
    (flags,) = _FLAGS.unpack_from(encoded)
    at = _FLAGS.size
    for flag in (pika.BasicProperties.FLAG_CONTENT_TYPE, pika.BasicProperties.FLAG_CONTENT_ENCODING):
        if flags & flag:
            at += 1 + encoded[at]
    if not flags & pika.BasicProperties.FLAG_HEADERS:
        return encoded[:at], b"", encoded[at:]
    end = at + _TABLE.size + _TABLE.unpack_from(encoded, at)[0]
    return encoded[:at], encoded[at:end], encoded[end:]


def fitting(headers: Mapping[Any, Any], room: int) -> dict[Any, Any]:
    """Give those headers that can be encoded, as far as `room` bytes hold them: the small ones first."""
    sizes: dict[Any, int] = {}
    for name, value in headers.items():
        with suppress(Exception):
            sizes[name] = encode_table([], {name: value})
    left = room
    found = {}
    for name in sorted(sizes, key=sizes.__getitem__):
        left -= sizes[name]
        if left < 0:
            break
        found[name] = headers[name]
    return found


def lighter(message: Message, room: int) -> Message:
    """Give a message without those headers and properties that can't be encoded, or find no `room`."""
    properties = {}
    for name, value in message.properties.items():
        with suppress(Exception):
            pika.BasicProperties(**{name: value}).encode()
            properties[name] = value
    return Message(message.body, fitting(message.headers, room), properties)


def too_large(headers: Mapping[str, Any]) -> bool:
    """Tell whether no consumer takes headers, as for their size; False where they can't be encoded."""
    with suppress(Exception):
        return _at_most(headers) > LARGEST_HEADERS and encode_table([], dict(headers)) > LARGEST_HEADERS
    return False


def to_message(properties: pika.BasicProperties, body: bytes) -> Message:
    """Read a delivered message."""
    fault = properties.fault if isinstance(properties, FaultyProperties) else None
    present = {name: value for name in _PROPERTIES if (value := getattr(properties, name)) is not None}
    return Message(body, properties.headers or {}, present, fault)


def to_properties(publish: Publish, frame_max: int) -> pika.BasicProperties:
    """Write the properties of a message to be published: persistent, with its itinerary.

    Raises HeadersTooLarge where a frame of `frame_max` bytes does not hold them.
    """
    headers = dict(publish.message.headers)
    if len(publish.routing_keys) > 1:
        headers["CC"] = list(publish.routing_keys[1:])
    properties = pika.BasicProperties(
        **publish.message.properties, headers=headers, delivery_mode=DeliveryMode.Persistent
    )
    room = _within(frame_max)
    # What they take is known only by writing them, which takes longer than all else here.
    if _at_most(headers) > room:
        size = _CONTENT_HEADER.size + sum(map(len, properties.encode()))
        if size > room:
            raise HeadersTooLarge(f"{size} bytes, and {room} is what this broker's frame_max has room for")
    return properties


def _at_most(headers: Mapping[Any, Any]) -> float:
    """Give a number of bytes that headers do not take, at little cost."""
    size: float = _LARGEST_PROPERTIES
    for name, value in headers.items():
        size += len(str(name)) + _LARGEST_NUMBER
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, str | bytes):
                size += _LONGEST_CHARACTER * len(each) + _LARGEST_NUMBER
            elif isinstance(each, int | float):
                size += _LARGEST_NUMBER
            else:
                return math.inf
    return size
