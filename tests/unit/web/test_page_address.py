"""Where a page is, by what was asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from starlette.requests import Request

from taskqueue.web.answers import address
from taskqueue.web.place import Place


@pytest.mark.parametrize("host", [b"", b"[", b"evil/login?x=", b"host#", b"evil@host", b"\xff"])
def test_a_page_is_where_it_is_whatever_the_header_host_says(host: bytes) -> None:
    """Early versions of starlette make URLs of it, and fail at some."""
    app = SimpleNamespace(state=SimpleNamespace(site=SimpleNamespace(place=Place("/tq"))))
    scope = {
        "type": "http", "method": "GET", "scheme": "http", "server": ("127.0.0.1", 80), "app": app,
        "path": "/queues/a", "query_string": b"look=yes", "headers": [(b"host", host)],
    }  # fmt: skip
    assert address(Request(scope)) == "/tq/queues/a?look=yes"
