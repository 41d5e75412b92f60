"""Answers each request after a while: `python -m benchmarks.slow_receiver PORT SECONDS LOG`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import cast

import uvloop

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_END = b"\r\n\r\n"
_NOTE = 0.05


class _Connection(asyncio.Protocol):
    """Takes small requests, one after the other, and knows their end by the body of a benchmark: `{}`."""

    def __init__(self, seconds: float, answered: list[int]) -> None:
        self._seconds = seconds
        self._answered = answered
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by its class: those of uvloop are none of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(_END)
        if end and len(body) >= _length(head):
            self._received = b""
            asyncio.get_running_loop().call_later(self._seconds, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)
            self._answered[0] += 1


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def serve(port: int, seconds: float, path: Path) -> None:
    """Answer, and write a line for each answer."""
    answered = [0]
    loop = asyncio.get_running_loop()
    await loop.create_server(lambda: _Connection(seconds, answered), "127.0.0.1", port, backlog=4096)
    while True:
        # A step of the log, not a wait for something.
        await asyncio.sleep(_NOTE)
        count, answered[0] = answered[0], 0
        with path.open("ab") as log:
            log.write(b"- -\n" * count)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
