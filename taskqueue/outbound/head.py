"""The head of a request and of an answer, written and read as a whole.

http.client checks and encodes every field by itself, and has the mail parser read the answer's:
together a third of the CPU time of a request (docs/performance.md).
"""

from __future__ import annotations

import email.parser
import http
import http.client
import re
from collections.abc import Mapping
from io import BufferedIOBase

MOST_INTERIM = 20
"""Interim answers (1xx) before the one that counts."""
MOST_FIELDS = 100
_LONGEST_LINE = 65_536
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*)\r?\n")
_TARGET = re.compile(r"[!-~]+")
_LENGTH = re.compile("[0-9]{1,18}")
_BLANK = frozenset({b"\r\n", b"\n", b""})
_ACCEPT_ENCODING = "accept-encoding"
_SWITCHING = http.HTTPStatus.SWITCHING_PROTOCOLS
_BODILESS = frozenset(
    {http.HTTPStatus.SWITCHING_PROTOCOLS, http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED}
)
_EXPECTED_TO_HAVE_A_BODY = frozenset({"POST", "PUT", "PATCH"})


def request_head(
    method: str, target: str, authority: str, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    """Write the head of a request, encoded as HTTP has it (RFC 9112, 3 and 5).

    Raises ValueError where a header or the target would end its line or is not Latin-1.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {authority}"]
    if body is not None or method in _EXPECTED_TO_HAVE_A_BODY:
        lines.append(f"Content-Length: {len(body or b'')}")
    encoding_given = False
    for name, value in headers.items():
        lines.append(f"{name}: {value}")
        encoding_given = encoding_given or name.lower() == _ACCEPT_ENCODING
    if not encoding_given:
        lines.append("Accept-Encoding: identity")
    text = "\r\n".join(lines)
    ends = len(lines) - 1
    if text.count("\r") != ends or text.count("\n") != ends or not _TARGET.fullmatch(target):
        raise ValueError("a header or the target of the request holds a line end or a space")
    return f"{text}\r\n\r\n".encode("latin-1")


class Response(http.client.HTTPResponse):
    """An answer whose head is read at once; its body is read as http.client has it."""

    def begin(self) -> None:
        """Read the head of the final answer: http.client takes 103 for a final one."""
        for _ in range(MOST_INTERIM + 1):
            version, status, reason = self._read_status()  # type: ignore[attr-defined]
            headers = read_fields(self.fp)
            if status >= http.HTTPStatus.OK or status == _SWITCHING:
                break
        else:
            raise http.client.HTTPException("too many interim answers")
        self.code = self.status = status
        self.reason = reason.strip()
        self.headers = self.msg = headers
        self._frame(version)

    def _frame(self, version: str) -> None:
        """Find out where the body ends (RFC 9112, 6.3)."""
        if not version.startswith(("HTTP/1.", "HTTP/0.9")):
            raise http.client.UnknownProtocol(version)
        self.version = 11 if version.startswith("HTTP/1.") and version != "HTTP/1.0" else 10
        coding = self.headers.get("transfer-encoding")
        self.chunked = coding is not None and coding.lower() == "chunked"
        self.chunk_left = None
        self.will_close = self._check_close()  # type: ignore[attr-defined]
        self.length = None if self.chunked else _content_length(self.headers)
        if self.status in _BODILESS or self._method == "HEAD":  # type: ignore[attr-defined]
            self.length = 0
        if not self.chunked and self.length is None:
            self.will_close = True


def read_fields(stream: BufferedIOBase) -> http.client.HTTPMessage:
    """Read the fields up to the empty line; raises HTTPException where there are too many."""
    message = http.client.HTTPMessage()
    lines: list[bytes] = []
    odd = False
    while (line := stream.readline(_LONGEST_LINE + 1)) not in _BLANK:
        if len(line) > _LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        if len(lines) >= MOST_FIELDS:
            raise http.client.HTTPException(f"got more than {MOST_FIELDS} headers")
        lines.append(line)
        field = _FIELD.fullmatch(line.decode("latin-1"))
        if field is None:
            odd = True
        else:
            message[field[1]] = field[2].rstrip(" \t")
    if odd:
        # Folded lines, no colon, a space before it: read as http.client would.
        text = b"".join([*lines, b"\r\n"]).decode("latin-1")
        return email.parser.Parser(_class=http.client.HTTPMessage).parsestr(text)
    return message


def _content_length(headers: http.client.HTTPMessage) -> int | None:
    text = headers.get("content-length")
    # Not int() alone: it takes signs, spaces and underscores, and refuses thousands of digits.
    return int(text) if text is not None and _LENGTH.fullmatch(text) else None
