"""What the built-in handlers read of a task's metadata: checked alike before it is sent and before it runs.

Each raises InvalidTask that names the field, and never quotes the value of a header.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.task import fields, headers

ON_SUCCESS = "on_success"
_FIELD = f"metadata.{ON_SUCCESS}"
_HEADERS = "metadata.headers"
_KNOWN = frozenset({"url", "max_retries", "metadata"})


@dataclass(frozen=True, slots=True)
class Asked:
    """Method and headers that a task asks for."""

    method: str | None
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OnSuccess:
    """The task that is to follow from a success."""

    url: str
    max_retries: int | None
    metadata: Mapping[str, Any]


def asked(metadata: Mapping[str, Any], task_id: str) -> Asked:
    """Read ``method`` and ``headers``, as the handler ``headers`` does."""
    method = fields.method(metadata)
    given = _headers(metadata.get("headers"))
    own = headers.header_text(task_id)
    try:
        headers.check(given, {"Taskqueue-Id": own, "Idempotency-Key": own})
    except ValueError as error:
        raise InvalidTask(_HEADERS, str(error)) from None
    return Asked(method, given)


def on_success(metadata: Mapping[str, Any]) -> OnSuccess | None:
    """Read ``on_success``, as the handler ``callback`` does: a URL, or an object with one."""
    wanted = metadata.get(ON_SUCCESS)
    if wanted is None:
        return None
    document: Mapping[str, Any] = wanted if isinstance(wanted, Mapping) else {"url": wanted}
    try:
        url = fields.url(document, "url")
        limit = fields.count(document, "max_retries")
        inner = fields.mapping(document, "metadata")
    except InvalidTask as error:
        raise InvalidTask(_FIELD, str(error)) from error
    if url is None or set(document) - _KNOWN:
        raise InvalidTask(_FIELD, f"must be a URL, or an object of {', '.join(sorted(_KNOWN))}")
    return OnSuccess(url, limit, inner)


CHECKS: Mapping[str, Callable[[Mapping[str, Any], str], object]] = MappingProxyType(
    {"headers": asked, "callback": lambda metadata, _: on_success(metadata)}
)
"""What each built-in handler that reads metadata has against it, by the name that it has in the ini."""


def _headers(given: object) -> dict[str, str]:
    # PHP writes an empty object as an array.
    if given is None or given == []:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidTask(_HEADERS, f"must be an object of texts, got {type(given).__name__}")
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: object, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidTask(_HEADERS, f"{str(name)[:60]!a} must be a text, got {type(value).__name__}")
    if any(char < " " or char == "\x7f" for char in value):
        raise InvalidTask(_HEADERS, f"{str(name)[:60]!a} holds a line end or control character")
    return headers.header_text(value)
