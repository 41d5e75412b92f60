"""Header tables that no AMQP library would write."""

from __future__ import annotations

import struct

import pika


class Raw(pika.BasicProperties):
    """Properties whose header table is written byte by byte."""

    def __init__(self, table: bytes) -> None:
        super().__init__()
        self.table = table

    def encode(self) -> list[bytes]:
        """Write the flags, the table and a message id that is not UTF-8."""
        flags = struct.pack(">H", self.FLAG_HEADERS | self.FLAG_MESSAGE_ID)
        return [flags, struct.pack(">I", len(self.table)) + self.table, b"\x03\xff\xfe\xfd"]


def entry(kind: bytes, data: bytes, name: bytes = b"a") -> bytes:
    """Write one entry of a header table."""
    return bytes([len(name)]) + name + kind + data


def nested(depth: int) -> bytes:
    """Write arrays in arrays."""
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return b"\x01a" + value
