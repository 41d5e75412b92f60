"""Heads of requests and answers, as bytes."""

from __future__ import annotations

import http.client
import io
from email.parser import BytesParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.outbound.head import MOST_FIELDS, Response, read_fields, request_head

ONE = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"


class Wire:
    """A socket that an answer was received on."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give what http.client reads from."""
        return io.BufferedReader(io.BytesIO(self._data))


def answer(data: bytes, method: str = "POST") -> Response:
    """Read the head of an answer."""
    response = Response(Wire(data), method=method)  # type: ignore[arg-type]  # it uses makefile only
    response.begin()
    return response


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


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True),
            st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30),
        ),
        max_size=10,
    )
)
def test_fields_are_read_as_the_mail_parser_reads_them(fields: list[tuple[str, str]]) -> None:
    """The quick way gives what http.client's way gives, spaces at the end aside."""
    data = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields) + b"\r\n"
    slow = BytesParser(_class=http.client.HTTPMessage).parsebytes(data)
    expected = [(name, value.strip(" \t")) for name, value in slow.items()]
    assert [(name, value.strip(" \t")) for name, value in read_fields(io.BytesIO(data)).items()] == expected


def test_a_folded_field_is_read_whole() -> None:
    """What the quick way doesn't know is left to the mail parser."""
    headers = read_fields(io.BytesIO(b"A: 1\r\nB: 2\r\n 3\r\nC: 4\r\n\r\n"))
    assert headers["A"] == "1"
    assert headers["B"].split() == ["2", "3"]
    assert headers["C"] == "4"


def test_too_many_fields_are_no_answer() -> None:
    """An answer has at most MOST_FIELDS."""
    data = b"A: 1\r\n" * (MOST_FIELDS + 1) + b"\r\n"
    with pytest.raises(http.client.HTTPException, match="headers"):
        read_fields(io.BytesIO(data))


@pytest.mark.parametrize(
    ("head", "length", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 5, False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 0, False),
        (b"HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", 0, False),
        (b"HTTP/1.1 200 OK\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", None, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 5\r\n\r\n", None, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", 5, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 5, True),
        (b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\n" + ONE, 1, False),
    ],
)  # fmt: skip
def test_an_answer_tells_where_its_body_ends(head: bytes, length: int | None, closes: bool) -> None:  # noqa: FBT001
    """Length, chunks or the end of the connection (RFC 9112, 6.3)."""
    response = answer(head)
    assert (response.length, response.will_close) == (length, closes)


def test_interim_answers_without_end_are_no_answer() -> None:
    """A receiver can't keep a worker with 1xx for ever."""
    with pytest.raises(http.client.HTTPException, match="interim"):
        answer(b"HTTP/1.1 102 x\r\n\r\n" * 50)


def test_another_protocol_is_no_answer() -> None:
    """HTTP/1 is what was asked."""
    with pytest.raises(http.client.HTTPException):
        answer(b"HTTP/3.0 200 OK\r\n\r\n")
