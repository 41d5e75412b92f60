"""A message whose headers can't be taken keeps all that can be kept: id, other properties, small headers."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame

from taskqueue.broker.wire import (
    LARGEST_HEADERS,
    Tolerant,
    fitting,
    lighter,
    to_message,
    to_properties,
    too_large,
)
from taskqueue.task.message import Message, Publish
from tests.support.raw_headers import entry, nested

PROPERTIES: dict[str, Any] = {
    "content_type": "application/json", "content_encoding": "utf-8", "priority": 4, "correlation_id": "c",
    "reply_to": "r", "message_id": "mine", "timestamp": 1_790_000_000, "type": "t", "app_id": "a",
}  # fmt: skip
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
UNREADABLE = {
    "year 292 billion": entry(b"T", struct.pack(">Q", 2**63)),
    "nested": nested(3000),
    "another kind": entry(b"?", b""),
    "cut off": entry(b"S", struct.pack(">I", 1000) + b"x"),
}
LARGE = entry(b"S", struct.pack(">I", 90_000) + b"x" * 90_000)
SMALL = entry(b"S", struct.pack(">I", 1) + b"y", b"small")


class _Buffer:
    """As much of pika's connection as reads a frame."""

    params = SimpleNamespace(frame_max=131_072)

    def __init__(self, data: bytes) -> None:
        self._frame_buffer = data

    def _read_frame(self) -> Any:
        return frame.decode_frame(self._frame_buffer)


class Connection(Tolerant, _Buffer):
    """A connection that tolerates what it reads."""


def received(properties: dict[str, Any], table: bytes) -> Message:
    """Read a message with this table of headers, byte for byte."""

    class Raw(pika.BasicProperties):
        def encode(self) -> list[bytes]:
            flags, *pieces = super().encode()
            at = sum(name in properties for name in ("content_type", "content_encoding"))
            # Each short text is its length and its bytes.
            pieces.insert(2 * at, struct.pack(">I", len(table)) + table)
            (number,) = struct.unpack(">H", flags)
            return [struct.pack(">H", number | self.FLAG_HEADERS), *pieces]

    data = frame.Header(1, 5, Raw(**properties)).marshal()
    size, header = Connection(data)._read_frame()
    assert size == len(data)
    assert header.body_size == 5
    return to_message(header.properties, b"12345")


@pytest.mark.parametrize("left_out", [*PROPERTIES, "nothing"])
@pytest.mark.parametrize("table", UNREADABLE.values(), ids=UNREADABLE)
def test_headers_that_can_not_be_decoded_cost_nothing_else(table: bytes, left_out: str) -> None:
    """Whatever else there is."""
    properties = {name: value for name, value in PROPERTIES.items() if name != left_out}
    message = received(properties, table)
    assert message.fault is not None
    assert message.fault.startswith("can't be decoded")
    assert (message.properties, message.headers, message.body) == (properties, {}, b"12345")


def test_headers_that_are_too_large_cost_only_the_large_ones() -> None:
    """They are decoded, and the small ones stay."""
    message = received(PROPERTIES, SMALL + LARGE)
    assert message.fault == f"must have at most {LARGEST_HEADERS} bytes"
    assert (message.properties, message.headers) == (PROPERTIES, {"small": "y"})


def test_headers_that_are_too_large_and_can_not_be_decoded_cost_nothing_else() -> None:
    """As each alone."""
    message = received(PROPERTIES, LARGE + UNREADABLE["another kind"])
    assert message.fault is not None
    assert (message.properties, message.headers) == (PROPERTIES, {})


@given(st.binary(max_size=80), st.dictionaries(st.sampled_from([*PROPERTIES]), st.none(), max_size=3))
def test_no_bytes_end_a_connection(table: bytes, some: dict[str, None]) -> None:
    """A table is either read, or its message is known to be without it."""
    properties = {name: PROPERTIES[name] for name in some}
    message = received(properties, table)
    assert message.properties == properties
    assert message.fault is None or message.headers == {}


def test_what_can_not_be_encoded_is_left_out() -> None:
    """One by one, the headers and the properties, so that the rest goes on."""
    headers = {
        "a": "b",
        "wide": 10**30,
        "odd": object(),
        "x" * 300: 1,
        "when": datetime(2026, 1, 1, tzinfo=UTC),
    }
    message = Message(b"{}", headers, {"message_id": "mine", "type": "x" * 300, "priority": 4})
    light = lighter(message, 1000)
    assert light.headers == {"a": "b", "when": WHEN}
    assert light.properties == {"message_id": "mine", "priority": 4}
    to_properties(Publish("q", ("q",), light), 4096)


def test_what_has_no_room_is_left_out_the_large_ones_first() -> None:
    """One that is too large costs no other."""
    headers = {"large": "x" * 500, "small": 1, "middle": "y" * 100}
    assert fitting(headers, 300) == {"small": 1, "middle": "y" * 100}
    assert fitting(headers, 1000) == headers
    assert fitting(headers, 3) == {}


@pytest.mark.parametrize(
    ("headers", "large"),
    [
        ({}, False),
        ({"a": "x" * (LARGEST_HEADERS - 20)}, False),
        ({"a": "x" * LARGEST_HEADERS}, True),
        ({"a": "é" * (LARGEST_HEADERS // 2)}, True),
        ({"a": [{"b": "x" * 40_000}] * 2}, True),
        ({"a": [{"b": 5}]}, False),
        ({"a": object()}, False),
    ],
)
def test_headers_that_no_consumer_takes_are_known(headers: dict[str, Any], *, large: bool) -> None:
    """By what they take when they are written."""
    assert too_large(headers) is large
