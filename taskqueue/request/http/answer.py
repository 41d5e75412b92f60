"""The head of an answer, and what it says of the body: pure, and as tolerant as RFC 9112 allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus

from taskqueue.request.http.fault import BadAnswer

_STATUS_LINE = re.compile(r"HTTP/1\.([0-9])[ \t]+([1-9][0-9]{2})(?:[ \t][^\r]*)?")
_PROTOCOL = b"HTTP/"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD = re.compile(rf"^({_NAME.pattern})[ \t]*:(.*)$", re.MULTILINE)
_FOLD = re.compile(r"\n[ \t]+")
_CR_LINE = re.compile(rb"\r\r+[^\r\n]")
_LENGTH = re.compile("[0-9]+")
_MOST_DIGITS = 18
_BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_CHUNKED = "chunked"
CR_ALONE = "lines that end with CR alone"
"""What is wrong with a head of which the writer will send no LF."""
_CODING = re.compile(rf"({_NAME.pattern})([ \t]*;.*)?")


@dataclass(frozen=True, slots=True)
class Head:
    """Status and fields of an answer."""

    status: int
    minor: int
    """The y of HTTP/1.y."""
    fields: tuple[tuple[str, str], ...]
    """Names (in lower case) and values, in the order in which they came."""

    def first(self, name: str) -> str | None:
        """Look up the first field of this name (in lower case)."""
        for key, value in self.fields:
            if key == name:
                return value
        return None

    def listed(self, name: str) -> list[str]:
        """Split the values of all fields of this name at their commas (RFC 9110, 5.6.1)."""
        values = [value for key, value in self.fields if key == name]
        return [part for value in values for each in value.split(",") if (part := each.strip(" \t"))]

    def joined(self) -> dict[str, str]:
        """Give every field once: the values of fields that came several times have commas between."""
        found: dict[str, str] = {}
        for name, value in self.fields:
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the body of an answer ends, and whether its connection may carry another request."""

    length: int | None
    """Length in bytes; None where chunks or the end of the connection tell it."""
    chunked: bool
    keeps: bool
    closes: bool = False
    """Whether the connection ends the body, and the other end has said that it will close it."""


def may_begin(data: bytes | bytearray) -> bool:
    """Tell whether an answer may begin like this. Anything else fails at once, without a wait for more."""
    line, end, _ = data.partition(b"\n")
    if end:
        return _STATUS_LINE.fullmatch(line.decode("latin-1").rstrip("\r")) is not None
    # A CR in its midst ends no line, and the status line would have no end (RFC 9112, 2.2).
    return line.startswith(_PROTOCOL[: len(line)]) and b"\r" not in line.rstrip(b"\r")


def read_head(data: bytes) -> Head:
    """Read a head without the empty line at its end; raises BadAnswer where it has no status.

    A line that is not a field costs only itself (RFC 9112, 5). A line without a colon or without a name is
    left out. A space before the colon is ignored. A folded line is unfolded. A lone CR or a NUL in a field
    is read as a space (RFC 9110, 5.5). In the status line, or as an empty line, it makes the head invalid
    (RFC 9112, 2.2).
    """
    check_line_ends(data)
    text = data.decode("latin-1").replace("\r\n", "\n")
    if "\r" in text:
        first, _, rest = text.partition("\n")
        text = "\n".join([first.rstrip("\r"), rest.replace("\r", " ")])
    if "\n " in text or "\n\t" in text:
        # A line that is folded to the status line belongs to its reason, which nobody reads.
        text = _FOLD.sub(" ", text)
    status_line, _, lines = text.partition("\n")
    found = _STATUS_LINE.fullmatch(status_line)
    if found is None:
        raise BadAnswer(f"status line {status_line[:60]!a}")
    fields = [(name.lower(), value.strip(" \t").replace("\0", " ")) for name, value in _FIELD.findall(lines)]
    return Head(int(found[2]), int(found[1]), tuple(fields))


def check_line_ends(data: bytes | bytearray, begin: int = 0) -> None:
    """Raise BadAnswer where CRs alone make an empty line from `begin` on: its writer will send no LF."""
    if _CR_LINE.search(data, begin):
        raise BadAnswer(CR_ALONE)


def framing(head: Head, method: str) -> Framing:
    """Find out where the body of an answer to `method` ends (RFC 9112, 6.3).

    Raises BadAnswer where the length or the coding is not valid: the end would be a guess. So it does for
    101, as no other protocol was asked for (RFC 9110, 15.2.2).
    """
    if head.status == HTTPStatus.SWITCHING_PROTOCOLS:
        raise BadAnswer("101, though no other protocol was asked for")
    # Older receivers name the coding "identity" for a body that has none.
    codings = [coding for each in head.listed("transfer-encoding") if (coding := each.lower()) != "identity"]
    lengths = head.listed("content-length")
    # By 408 a server gives the connection up (RFC 9110, 15.5.9), even where it does not say so.
    persists = _persists(head) and head.status != HTTPStatus.REQUEST_TIMEOUT
    if head.status in _BODILESS or method == "HEAD":
        # A receiver that announces a body may send it too, and it would stand before the next answer.
        announced = codings or any(each.strip("0") for each in lengths)
        return Framing(0, chunked=False, keeps=persists and not announced)
    if codings:
        _check_codings(codings)
        chunked = codings[-1] == _CHUNKED
        # With both, or from HTTP/1.0, the framing is not to be trusted any further (6.1).
        keeps = persists and chunked and not lengths and head.minor > 0
        return Framing(None, chunked, keeps, closes=not chunked and not _persists(head))
    if head.first("content-length") is None:
        if head.status == HTTPStatus.RESET_CONTENT:
            # It has no content (RFC 9110, 15.3.6), though the rules of RFC 9112 leave its end open.
            return Framing(0, chunked=False, keeps=False)
        return Framing(None, chunked=False, keeps=False, closes=not _persists(head))
    return Framing(_length(lengths), chunked=False, keeps=persists)


def _check_codings(codings: list[str]) -> None:
    """Refuse what can't be read as codings, or is not the one that ends by itself (RFC 9112, 7).

    Such a body would be read until the connection ends, which whoever sends chunks does not do.
    """
    found = [_CODING.fullmatch(each) for each in codings]
    chunked = [each for each in found if each is not None and each[1] == _CHUNKED]
    if not all(found) or len(chunked) > 1 or any(each[2] for each in chunked):
        raise BadAnswer(f"Transfer-Encoding {', '.join(codings)[:60]!a}")


def _length(values: list[str]) -> int:
    """Read a length. It may come several times if it is always the same."""
    if (
        not values
        or not all(map(_LENGTH.fullmatch, values))
        or len({each.lstrip("0") for each in values}) > 1
    ):
        raise BadAnswer(f"Content-Length {', '.join(values)[:60]!a}")
    digits = values[0].lstrip("0")
    # Nothing that long is read to its end, and int() refuses thousands of digits.
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


def _persists(head: Head) -> bool:
    """Tell whether the connection is said to stay open after the answer (RFC 9112, 9.3)."""
    options = head.listed("connection")
    if not options:
        return head.minor > 0
    options = [each.lower() for each in options]
    return "close" not in options and (head.minor > 0 or "keep-alive" in options)
