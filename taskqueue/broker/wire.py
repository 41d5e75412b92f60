"""Turns pika's objects into ours and back, on a connection that no message can break."""

from __future__ import annotations

import struct
from typing import Any

import pika
from pika import DeliveryMode, frame, spec
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import InvalidFrameError

from taskqueue.task.message import PREFIX, Message, Publish

LARGEST_HEADERS = 64 * 2**10
"""Most bytes of headers from other programs. Ours come on top, and one frame (128 KiB) must hold all."""
LARGEST_OF_OURS = 24 * 2**10
"""Most bytes of our own headers, mainly the URL of a failed task: a message that fits once fits always."""
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
_FRAME_HEADER = struct.Struct(">BHL")
_CONTENT_HEADER = struct.Struct(">HHQ")


class FaultyProperties(pika.BasicProperties):
    """The properties of a message whose headers could not be decoded."""

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
            if size > LARGEST_HEADERS and size > _bound(data[:size]):
                return _without_properties(data, f"must have at most {LARGEST_HEADERS} bytes")
            return super()._read_frame()  # type: ignore[misc]  # of the connection that it is mixed into
        except InvalidFrameError:
            raise
        except Exception as error:
            if _headers_size(data) == 0:
                raise
            return _without_properties(data, f"can't be decoded: {type(error).__name__}: {error}"[:200])


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


def _bound(data: bytes) -> int:
    return LARGEST_HEADERS + (LARGEST_OF_OURS if PREFIX.encode() in data else 0)


def _without_properties(data: bytes, fault: str) -> tuple[int, frame.Header]:
    _, channel, size = _FRAME_HEADER.unpack_from(data)
    _, _, body_size = _CONTENT_HEADER.unpack_from(data, _FRAME_HEADER.size)
    header = frame.Header(channel, body_size, FaultyProperties(fault))
    return _FRAME_HEADER.size + size + 1, header


def to_message(properties: pika.BasicProperties, body: bytes) -> Message:
    """Read a delivered message."""
    if isinstance(properties, FaultyProperties):
        return Message(body, fault=properties.fault)
    present = {name: value for name in _PROPERTIES if (value := getattr(properties, name)) is not None}
    return Message(body, properties.headers or {}, present)


def to_properties(publish: Publish) -> pika.BasicProperties:
    """Write the properties of a message to be published: persistent, with its itinerary."""
    headers = dict(publish.message.headers)
    if len(publish.routing_keys) > 1:
        headers["CC"] = list(publish.routing_keys[1:])
    return pika.BasicProperties(
        **publish.message.properties, headers=headers, delivery_mode=DeliveryMode.Persistent
    )
