"""Heads of requests, as bytes."""

from __future__ import annotations

import pytest

from taskqueue.request.http.head import request_head


def test_a_request_is_written_as_http_has_it() -> None:
    """Request line, Host, the length of the body, then the headers in their order."""
    head = request_head("POST", "/a?b", "host:81", {"X-A": "1", "X-B": "é"}, b"{}")
    assert head == (
        b"POST /a?b HTTP/1.1\r\nHost: host:81\r\nContent-Length: 2\r\nX-A: 1\r\nX-B: \xe9\r\n"
        b"Accept-Encoding: identity\r\n\r\n"
    )


def test_a_post_without_a_body_says_so_and_a_get_says_nothing() -> None:
    """A length of 0 where a body is expected (RFC 9110, 8.6)."""
    assert b"Content-Length: 0\r\n" in request_head("POST", "/", "a", {}, None)
    assert b"Content-Length" not in request_head("GET", "/", "a", {}, None)


def test_an_accept_encoding_that_is_given_stays_alone() -> None:
    """A handler may ask for another encoding."""
    head = request_head("GET", "/", "a", {"accept-encoding": "gzip"}, None).lower()
    assert head.count(b"accept-encoding") == 1


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\r\nEvil: 1"])
def test_a_line_end_is_never_written(bad: str) -> None:
    """Neither a header nor the target can begin another line."""
    with pytest.raises(ValueError, match="line end"):
        request_head("POST", "/", "a", {"X": bad}, None)
    with pytest.raises(ValueError, match="line end"):
        request_head("POST", f"/{bad}", "a", {}, None)


def test_a_space_in_the_target_is_never_written() -> None:
    """It would end the target."""
    with pytest.raises(ValueError, match="space"):
        request_head("POST", "/a HTTP/1.1", "a", {}, None)
