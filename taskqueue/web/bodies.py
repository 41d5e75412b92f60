"""A message as the page shows it: without logins in URLs, and without what may be a credential. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.operate import whole
from taskqueue.redact import HIDDEN, safe_headers, without_logins
from taskqueue.task import document
from taskqueue.task.message import Message

_LONGEST = 200_000
"""Characters of a body that are shown: a browser is slow with megabytes."""
_TABLES = {"metadata", "headers"}
_NAME = re.compile(r"""(["'])(?P<name>(?:[^"'\\]|\\.)*)\1\s*[:=]\s*""", re.DOTALL)
"""A name before its value, in a text that may be no JSON: such as a dictionary as Python writes it."""
_VALUE = re.compile(
    r"""(["'])(?:(?!\1)[^\\]|\\.)*\1?|\[[^\]]*\]?|\{[^}]*\}?|[^\s,}\]]+""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a message."""

    fields: tuple[tuple[str, str | None], ...]
    """Its headers and properties by name."""
    body: str
    bytes: int
    hidden: bool
    """Whether something was left out of the body."""
    cut: bool
    """Whether the body is longer than what is shown."""


def shown(message: Message) -> Shown:
    """Write a message for the page; never raises, whatever it holds."""
    *fields, (_, plain) = whole.lines(message)
    written = _tidy(message.body)
    raw, hides = written or (message.body.decode(errors="backslashreplace"), False)
    body = without_logins(raw) if written else _masked(plain or "")
    return Shown(
        tuple((name, _safe(name, value)) for name, value in fields),
        body[:_LONGEST],
        len(message.body),
        hides or body != raw,
        len(body) > _LONGEST,
    )


def _safe(name: str, value: str | None) -> str | None:
    if value is None:
        return None
    return HIDDEN if _is_secret(name.partition(" ")[2]) else _masked(value)


def _masked(text: str) -> str:
    """Hide what may be a credential in a text that is no task, or may have a table in it."""
    parts, at = [], 0
    for found in _NAME.finditer(text):
        if found.start() < at or not _is_secret(_unescaped(found["name"])):
            continue
        if value := _VALUE.match(text, found.end()):
            parts += [text[at : found.end()], HIDDEN]
            at = value.end()
    return "".join((*parts, text[at:]))


def _unescaped(name: str) -> str:
    try:
        return str(json.loads(f'"{name}"'))
    except ValueError:
        return name


def _tidy(body: bytes) -> tuple[str, bool] | None:
    """Write each member in a line of its own, as it came but for secrets, and tell whether there are any.

    Gives None for what is no JSON object.
    """
    try:
        read = document.read(body)
        members = {name: read.written(name).decode() for name in read.values}
        metadata = read.values.get("metadata")
        plain = _without({"metadata": metadata})["metadata"]
        if hides := plain != metadata:
            members["metadata"] = document.write({"": plain}, copied=True)[len('{"":') : -1]
    except (InvalidTask, ValueError, RecursionError):
        return None
    lines = ",\n".join(f"  {json.dumps(name, ensure_ascii=False)}: {text}" for name, text in members.items())
    written = f"{{\n{lines}\n}}" if lines else "{}"
    # JSON can spell half of a surrogate pair, which no page can hold.
    return written.encode(errors="backslashreplace").decode(), hides


def _without(metadata: Any) -> Any:
    """Hide what may be a credential: headers of the request, and what a handler of somebody's own reads."""
    if isinstance(metadata, dict):
        return {
            name: HIDDEN if each and _is_hidden(name, each) else _without(each)
            for name, each in metadata.items()
        }
    return [_without(each) for each in metadata] if isinstance(metadata, list) else metadata


def _is_hidden(name: str, value: Any) -> bool:
    # Where no table is, as in what a consumer calls invalid, nobody knows which part is the credential.
    return _is_secret(name) or (name in _TABLES and not isinstance(value, dict))


def _is_secret(name: str) -> bool:
    return safe_headers({name: ""})[name] == HIDDEN
