"""The head of a request, written as a whole.

http.client checks and encodes every field by itself, which takes a fifth of the CPU time of a request
(benchmarks/RESULTS.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_TARGET = re.compile(r"[!-~]+")
_ACCEPT_ENCODING = "accept-encoding"
_EXPECTED_TO_HAVE_A_BODY = frozenset({"POST", "PUT", "PATCH"})


def request_head(
    method: str, target: str, authority: str, headers: Mapping[str, str], body: bytes | None
) -> bytes:
    """Write the head of a request, encoded as HTTP has it (RFC 9112, 3 and 5).

    Raises ValueError where a header or the target holds a line end or is not Latin-1.
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
