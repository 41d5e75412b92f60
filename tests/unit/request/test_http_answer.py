"""Heads of answers, and what they say of the body (RFC 9112, 5 and 6)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.request.http import answer
from taskqueue.request.http.answer import Framing, Head, framing
from taskqueue.request.http.fault import BadAnswer

NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]))
# Nothing of this is a field: no colon, no name, a name with something else in it.
ODD_LINES = st.sampled_from(
    ["no colon", ": no name", " : c", "a b: c", "ü: c", "(x): c", "\x7f: c", "x\0: c"]
)


def head(*fields: str, status: int = 200, minor: int = 1) -> Head:
    """Read a head with these lines."""
    return answer.read_head("\r\n".join([f"HTTP/1.{minor} {status} x", *fields]).encode("latin-1"))


@given(st.lists(st.tuples(NAMES, VALUES)), st.sampled_from(["\r\n", "\n"]))
def test_fields_are_read_in_their_order(fields: list[tuple[str, str]], end: str) -> None:
    """Names in lower case, values without the spaces around them, whatever ends the lines."""
    text = end.join(["HTTP/1.1 200 OK", *(f"{name}:{value}" for name, value in fields)])
    expected = tuple((name.lower(), value.strip(" \t")) for name, value in fields)
    assert answer.read_head(text.encode("latin-1")) == Head(200, 1, expected)


@given(st.lists(NAMES.map(lambda name: f"{name}: x") | ODD_LINES))
def test_a_bad_line_costs_only_itself(lines: list[str]) -> None:
    """Every field is there, whatever stands between them."""
    fields = [line for line in lines if line.endswith(": x")]
    assert [name for name, _ in head(*lines).fields] == [line[:-3].lower() for line in fields]


@pytest.mark.parametrize(
    ("lines", "fields"),
    [
        (["X-A : b", "C\t: d"], {"x-a": "b", "c": "d"}),
        (["A: 1", "B: 2", "  3", "\t4", "C: 5"], {"a": "1", "b": "2 3 4", "c": "5"}),
        (["  folded to the status line", "A: 1"], {"a": "1"}),
        (["no colon", " folded: to it", "A: 1"], {"a": "1"}),
        (["A: 1\r", "B: 2\r"], {"a": "1", "b": "2"}),
        (["A: 1\0\r2"], {"a": "1  2"}),
        (["A: 1", "a: 2", "B:", "A: 3"], {"a": "1, 2, 3", "b": ""}),
        ([f"Set-Cookie: {number}=x" for number in range(110)] + ["A: 1"], None),
    ],
)
def test_lines_are_read_as_far_as_they_can_be(lines: list[str], fields: dict[str, str] | None) -> None:
    """Spaces before the colon, folded lines, NULs, and more fields than anybody counts."""
    found = head(*lines)
    assert found.first("a") == ("1  2" if "\0" in lines[0] else None if lines[0][0] == "X" else "1")
    if fields is not None:
        assert found.joined() == fields


@pytest.mark.parametrize(
    ("line", "status", "minor"),
    [
        ("HTTP/1.1 200 OK", 200, 1),
        ("HTTP/1.1 200 ", 200, 1),
        ("HTTP/1.1 200", 200, 1),
        ("HTTP/1.0 999 what?", 999, 0),
        ("HTTP/1.1  200  OK", 200, 1),
        ("HTTP/1.1 200 OK\r\r", 200, 1),
    ],
)
def test_a_status_line_is_read(line: str, status: int, minor: int) -> None:
    """The reason may be missing (RFC 9112, 4), and spaces may be more than one."""
    found = answer.read_head(line.encode())
    assert (found.status, found.minor) == (status, minor)
    assert answer.may_begin(line.encode() + b"\r\n")


@pytest.mark.parametrize(
    "line",
    [
        "", "200 OK", "HTTP/3.0 200 OK", "HTTP/2 200", "http/1.1 200 OK", "HTTP/1.1 abc", "HTTP/1.1 99 x",
        "HTTP/1.1 2000 x", "HTTP/1.1 200OK", "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 OK\rA: b", "SSH-2.0-OpenSSH_9.2", "HTTP/1.1 \xb2\xb2\xb2 x",
    ],
)  # fmt: skip
def test_another_protocol_is_no_answer(line: str) -> None:
    """HTTP/1 is what was asked, and nothing else is waited for."""
    with pytest.raises(BadAnswer, match="status line"):
        answer.read_head(line.encode("latin-1"))
    assert not answer.may_begin(line.encode("latin-1") + b"\n")


@pytest.mark.parametrize(
    "begin", [b"", b"H", b"HTTP", b"HTTP/", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r", b"HTTP/1.1 200 OK\r\nX"]
)
def test_what_may_become_an_answer_is_waited_for(begin: bytes) -> None:
    """As long as nothing speaks against it."""
    assert answer.may_begin(begin)


@pytest.mark.parametrize(
    "begin",
    [b"X", b"HTTX", b"HTTP:", b"\x16\x03\x01", b"\r\n", b"HTTP/1.1 200 OK\rA: b", b"HTTP/1.1 204\r\rx"],
)
def test_what_can_be_no_answer_is_known_by_its_first_bytes(begin: bytes) -> None:
    """No line has to end for that."""
    assert not answer.may_begin(begin)


@pytest.mark.parametrize("end", [b"", b"\n", b"\nB: c"])
def test_an_empty_line_of_bare_crs_is_refused_wherever_it_stands(end: bytes) -> None:
    """Its writer ends lines by CR alone, so that the LF that ends the head would never come."""
    with pytest.raises(BadAnswer, match="CR alone"):
        answer.read_head(b"HTTP/1.1 200 OK\r\nA: b\r\rok" + end)
    with pytest.raises(BadAnswer, match="CR alone"):
        answer.check_line_ends(b"A: b\r\r\rok")
    answer.check_line_ends(b"A: b\rc\r\r\nB: c\r\r")


CLOSES = Framing(None, chunked=False, keeps=False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["Content-Length: 5"], Framing(5, chunked=False, keeps=True)),
        (["Content-Length: 5, 5", "Content-Length: 05"], Framing(5, chunked=False, keeps=True)),
        (["Content-Length: " + "9" * 5000], Framing(10**18, chunked=False, keeps=True)),
        (["Content-Length: 0"], Framing(0, chunked=False, keeps=True)),
        (["Content-Length: 5", "Connection: x, Close"], Framing(5, chunked=False, keeps=False)),
        (["Content-Length: 5", "Connection: enclosed"], Framing(5, chunked=False, keeps=True)),
        (["Transfer-Encoding: Chunked"], Framing(None, chunked=True, keeps=True)),
        (["Transfer-Encoding: gzip, chunked"], Framing(None, chunked=True, keeps=True)),
        (["Transfer-Encoding: gzip", "Transfer-Encoding: chunked,"], Framing(None, chunked=True, keeps=True)),
        (["Transfer-Encoding: identity", "Content-Length: 5"], Framing(5, chunked=False, keeps=True)),
        # Both at once may be an attempt at smuggling: it is read, and the connection not used again.
        (["Transfer-Encoding: chunked", "Content-Length: 5"], Framing(None, chunked=True, keeps=False)),
        (["Transfer-Encoding: chunked", "Content-Length: x"], Framing(None, chunked=True, keeps=False)),
        (["Transfer-Encoding: chunked, gzip"], CLOSES),
        (["Transfer-Encoding: gzip", "Content-Length: 5"], CLOSES),
        (["Transfer-Encoding: xchunked"], CLOSES),
        (["Transfer-Encoding: gzip;level=9"], CLOSES),
        (["Transfer-Encoding: chunked, identity"], Framing(None, chunked=True, keeps=True)),
        ([], CLOSES),
    ],
)
def test_an_answer_tells_where_its_body_ends(fields: list[str], expected: Framing) -> None:
    """Length, chunks or the end of the connection (RFC 9112, 6.3)."""
    assert framing(head(*fields), "POST") == expected


@pytest.mark.parametrize(
    "coding",
    [
        '"chunked"', "'chunked'x y", "chunked;", "chunked;q=1", "chunked ;q=1", "gzip, chunked;a", "=chunked",
        '"gzip, chunked', "chunked, chunked", "chunked;q=1, gzip", "chunked chunked", "chunked\x0b", "@",
    ],
)  # fmt: skip
def test_a_coding_that_is_none_is_no_answer(coding: str) -> None:
    """It would be read until the connection ends, and a receiver of chunks does not end it."""
    with pytest.raises(BadAnswer, match="Transfer-Encoding"):
        framing(head(f"Transfer-Encoding: {coding}"), "POST")
    assert framing(head(f"Transfer-Encoding: {coding}", status=204), "POST").keeps is False


@pytest.mark.parametrize(
    ("fields", "minor", "closes"),
    [
        ([], 1, False),
        ([], 0, True),
        (["Connection: close"], 1, True),
        (["Connection: keep-alive"], 0, False),
        (["Transfer-Encoding: chunked, gzip", "Connection: close"], 1, True),
        (["Transfer-Encoding: gzip", "Content-Length: 5"], 0, True),
    ],
)
def test_whoever_will_close_says_so(fields: list[str], minor: int, *, closes: bool) -> None:
    """Or speaks HTTP/1.0: only then the end of the connection may be waited for (RFC 9112, 9.6)."""
    expected = Framing(None, chunked=False, keeps=False, closes=closes)
    assert framing(head(*fields, minor=minor), "POST") == expected


@pytest.mark.parametrize("fields", [[], ["Content-Length: 0"], ["Upgrade: h2c", "Connection: Upgrade"]])
def test_another_protocol_that_nobody_asked_for_is_no_answer(fields: list[str]) -> None:
    """101 is not the last word over HTTP, and what follows it is no HTTP (RFC 9110, 15.2.2)."""
    for method in ("POST", "HEAD"):
        with pytest.raises(BadAnswer, match="101"):
            framing(head(*fields, status=101), method)


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (408, ["Content-Length: 5"], Framing(5, chunked=False, keeps=False)),
        (408, ["Transfer-Encoding: chunked"], Framing(None, chunked=True, keeps=False)),
        (408, [], Framing(None, chunked=False, keeps=False)),
        (205, [], Framing(0, chunked=False, keeps=False)),
        (205, ["Content-Length: 0"], Framing(0, chunked=False, keeps=True)),
        (205, ["Transfer-Encoding: chunked"], Framing(None, chunked=True, keeps=True)),
    ],
)
def test_a_status_may_say_more_of_the_connection_than_the_fields(
    status: int, fields: list[str], expected: Framing
) -> None:
    """408 gives it up (RFC 9110, 15.5.9), and 205 has nothing to wait for (15.3.6)."""
    assert framing(head(*fields, status=status), "POST") == expected


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    ("fields", "keeps"),
    [
        ([], True),
        (["Content-Length: 0"], True),
        (["Content-Length: 4"], False),
        (["Content-Length: x"], False),
        (["Transfer-Encoding: chunked"], False),
        (["Connection: close"], False),
    ],
)
def test_an_answer_without_a_body_has_none_whatever_it_says(
    status: int, fields: list[str], *, keeps: bool
) -> None:
    """And where it says that there is one, the connection is not used again: it may come yet."""
    assert framing(head(*fields, status=status), "POST") == Framing(0, chunked=False, keeps=keeps)
    assert framing(head(*fields), "HEAD") == Framing(0, chunked=False, keeps=keeps)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["Content-Length: 5"], Framing(5, chunked=False, keeps=False)),
        (["Content-Length: 5", "Connection: Keep-Alive"], Framing(5, chunked=False, keeps=True)),
        (["Transfer-Encoding: chunked", "Connection: keep-alive"], Framing(None, chunked=True, keeps=False)),
    ],
)
def test_an_older_answer_keeps_its_connection_only_if_it_says_so(
    fields: list[str], expected: Framing
) -> None:
    """HTTP/1.0 closes, and knows no chunks that one could rely on (RFC 9112, 6.1 and 9.3)."""
    assert framing(head(*fields, minor=0), "POST") == expected


@pytest.mark.parametrize(
    "lengths",
    [["-1"], ["+1"], ["1_0"], ["5.0"], [""], [","], ["0x5"], ["5 5"], ["5, 6"], ["5", "6"], ["\xb2"]],
)
def test_a_length_that_is_none_is_no_answer(lengths: list[str]) -> None:
    """Whatever were read then would be a guess (RFC 9112, 6.3)."""
    with pytest.raises(BadAnswer, match="Content-Length"):
        framing(head(*(f"Content-Length: {each}" for each in lengths)), "POST")


@given(st.binary(), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: "]))
def test_no_bytes_raise_anything_else(data: bytes, begin: bytes) -> None:
    """Any bytes are a head, or a BadAnswer."""
    answer.may_begin(data)
    with suppress(BadAnswer):
        framing(answer.read_head(begin + data), "POST")
