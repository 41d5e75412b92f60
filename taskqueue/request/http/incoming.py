"""An answer on its way in: read from a socket as far as it is wanted, and not a byte further.

Bytes that are left over after an answer show that the other end sent more than it announced. http.client
reads ahead and drops them, so nobody can know. It also accepts as an answer what is not one.
"""

from __future__ import annotations

import re
import ssl
from http import HTTPStatus

from taskqueue.request.http import answer
from taskqueue.request.http.answer import Framing, Head
from taskqueue.request.http.fault import BadAnswer
from taskqueue.request.http.limits import LimitedSocket

LARGEST_HEAD = 128 * 1024
"""Most bytes of a status line and headers, together with those of interim answers, however many come."""
LARGEST_FRAMING = 64 * 1024
"""Most bytes of all chunk-size lines: no honest answer comes in 1-byte chunks."""
LONGEST_REST = 1.0
"""Seconds that the rest of an answer gets where it changes nothing, so that a receiver can end in order."""
_PIECE = 64 * 1024
# Some write a CR before each line end that has one already.
_END = re.compile(rb"\n\r{0,2}\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;.*)?")


class Ended(ConnectionError):
    """The other end has closed before its answer was whole."""


class _TooMuch(Exception):
    """More bytes come than may be read."""


class Incoming:
    """The answer to one request: its head(), then its body()."""

    __slots__ = ("_data", "_ended", "_final", "_heads", "_room", "_scanned", "_sock")

    def __init__(self, sock: LimitedSocket) -> None:
        self._sock = sock
        self._data = bytearray()
        self._ended = True
        self._final: Head | None = None
        self._heads = 0
        self._room = 0
        self._scanned = 0

    @property
    def drained(self) -> bool:
        """Tell whether the answer came to its end, and no byte beyond it."""
        more = bool(self._data) or (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending() > 0)
        return self._ended and not more

    def head(self) -> Head:
        """Read the head of the final answer; raises BadAnswer, Ended or another OSError."""
        while self._final is None and not self._parsed():
            if self._data.endswith(b"\r\r"):
                self._fill_behind_cr()
            else:
                self._fill()
        assert self._final is not None  # noqa: S101 the loop ends no other way
        return self._final

    def comes_early(self) -> bool:
        """Look, on a socket that does not block, whether the final answer is there, or will never come."""
        try:
            data = self._sock.recv(_PIECE)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        self._data += data
        # Where CRs alone end lines, two of them are the end of a head.
        return not data or self._parsed() or self._data.endswith(b"\r\r")

    def body(self, framing: Framing, most: int, *, needed: bool) -> tuple[bytes, bool]:
        """Read a body up to `most` bytes, and tell whether that was all of it.

        One that is not `needed` is waited for only where its end tells something: whether it came whole.
        """
        if framing.chunked:
            return self._chunks(most, needed=needed)
        if framing.length is None:
            return self._until_closed(most, needed=needed or framing.closes)
        if framing.length > most:
            return self._beginning(most, needed=needed), False
        return self._exactly(framing.length), True

    def _fill_behind_cr(self) -> None:
        """Receive what follows two CRs: the LF of a line soon, or nothing where CRs alone end the head."""
        allowance = self._sock.allowance
        ends = None if allowance is None else allowance.ends
        self._hurry()
        try:
            self._fill()
        except TimeoutError as error:
            raise BadAnswer(answer.CR_ALONE) from error
        finally:
            if allowance is not None and ends is not None:
                allowance.ends = ends

    def _parsed(self) -> bool:
        """Take heads off the data until there is a final one; False where that has not come yet."""
        while (end := _END.search(self._data, self._scanned)) is not None:
            self._heads += end.end()
            self._check_size(self._heads)
            head = answer.read_head(bytes(self._data[: end.start()]))
            del self._data[: end.end()]
            self._scanned = 0
            if head.status >= HTTPStatus.OK or head.status == HTTPStatus.SWITCHING_PROTOCOLS:
                self._final = head
                return True
        self._check_size(self._heads + len(self._data))
        if not answer.may_begin(self._data):
            raise BadAnswer(f"status line {bytes(self._data[:60]).decode('latin-1')!a}")
        answer.check_line_ends(self._data, self._scanned)
        self._scanned = max(0, len(self._data) - 3)
        return False

    @staticmethod
    def _check_size(size: int) -> None:
        if size > LARGEST_HEAD:
            raise BadAnswer(f"more than {LARGEST_HEAD} bytes of headers")

    def _chunks(self, most: int, *, needed: bool) -> tuple[bytes, bool]:
        """Read chunks (RFC 9112, 7.1), and drop their extensions and the trailer.

        The body is whole once the last chunk has come, which has no bytes (RFC 9112, 8).
        """
        body = bytearray()
        self._room = LARGEST_FRAMING
        try:
            while size := self._chunk_size():
                room = most - len(body)
                if size > room:
                    return bytes(body) + self._beginning(room, needed=needed), False
                body += self._exactly(size)
                if self._line():
                    raise BadAnswer("a chunk longer than its size")
        except _TooMuch:
            return bytes(body), False
        self._ended = self._trailer()
        return bytes(body), True

    def _trailer(self) -> bool:
        """Read what follows the last chunk, and tell whether it came to its end: some leave that out."""
        self._hurry()
        try:
            while self._line():
                pass
        except (OSError, _TooMuch):
            return False
        return True

    def _chunk_size(self) -> int:
        line = self._line()
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise BadAnswer(f"chunk size {line[:60].decode('latin-1')!a}")
        return int(found[1], 16)

    def _line(self) -> bytes:
        """Take a line, without its end; raises _TooMuch where all lines together are too long."""
        begin = 0
        while (end := self._data.find(b"\n", begin)) < 0:
            begin = len(self._data)
            if begin > self._room:
                raise _TooMuch
            self._fill()
        self._room -= end + 1
        if self._room < 0:
            raise _TooMuch
        return self._take(end + 1).rstrip(b"\r\n")

    def _exactly(self, count: int) -> bytes:
        while len(self._data) < count:
            self._fill()
        return self._take(count)

    def _beginning(self, most: int, *, needed: bool) -> bytes:
        """Read the beginning of what is too long to be read to its end: less of it will do."""
        if not needed:
            self._hurry()
        try:
            return self._exactly(most)
        except TimeoutError:
            return self._take(most)

    def _until_closed(self, most: int, *, needed: bool) -> tuple[bytes, bool]:
        """Read what has no end of its own, and is complete wherever it ends (RFC 9112, 8)."""
        if not needed:
            self._hurry()
        try:
            while len(self._data) <= most:
                self._fill()
        except Ended:
            return self._take(len(self._data)), True
        except TimeoutError:
            pass
        return self._take(most), False

    def _hurry(self) -> None:
        if self._sock.allowance is not None:
            self._sock.allowance.hurry(LONGEST_REST)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        return taken

    def _fill(self) -> None:
        data = self._sock.recv(_PIECE)
        if not data:
            raise Ended
        self._data += data
