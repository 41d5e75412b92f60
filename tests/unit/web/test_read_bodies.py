"""The body of a request is read to its end, up to a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from starlette.requests import Request
from starlette.types import Message

from taskqueue.web.answers import CutOff, TooLarge, body, status


def read(messages: Iterable[Message], most: int) -> bytes:
    """Read the body that a server hands on in these pieces."""
    coming = iter(messages)

    async def receive() -> Message:
        return next(coming)

    scope = {"type": "http", "method": "POST", "path": "/login", "headers": []}
    return asyncio.run(body(Request(scope, receive), most))


def piece(data: bytes, *, more: bool = False) -> Message:
    """Give a part of a body."""
    return {"type": "http.request", "body": data, "more_body": more}


def test_it_is_put_together() -> None:
    """Up to the bound, and no byte more."""
    assert read([piece(b"ab", more=True), piece(b"cd")], 4) == b"abcd"
    with pytest.raises(TooLarge):
        read([piece(b"ab", more=True), piece(b"cde")], 4)


def test_a_client_that_leaves_is_no_fault_of_ours() -> None:
    """It is told like a fault of a client, and so it leaves no traceback in the log."""
    with pytest.raises(CutOff) as raised:
        read([piece(b"ab", more=True), {"type": "http.disconnect"}], 4)
    assert status(raised.value) == 400
