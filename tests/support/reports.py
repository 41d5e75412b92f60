"""Reports of the management API that are old by the time that a command has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from sandbox.proxy import Filter, Proxy

_LONGEST = 1000
"""Bytes of what is told of one queue, which may come in two pieces."""


@contextmanager
def outdated(management_url: str, queue: str, consumers: int, act: Callable[[], object]) -> Iterator[str]:
    """Do something once, after a report told so many consumers of a queue and before its reader has it.

    Gives the URL by which the management API is to be asked for that.
    """
    parts = urlsplit(management_url)
    assert parts.port is not None
    told = re.compile(rf'"consumers":{consumers},[^{{}}]*"name":"{re.escape(queue)}"'.encode())
    todo = [act]

    def filtered() -> Filter:
        before = b""

        def look(data: bytes) -> bytes:
            nonlocal before
            if told.search(before + data) and todo:
                todo.pop()()
            before = data[-_LONGEST:]
            return data

        return look

    with Proxy(parts.port, filtered=filtered) as proxy:
        yield parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
    assert not todo, "no such report was made"
