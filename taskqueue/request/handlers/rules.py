"""The rules for any request, whatever handler made it: methods, header names and values."""

from __future__ import annotations

from taskqueue.handlers import Request
from taskqueue.task import headers
from taskqueue.task.fields import METHODS
from taskqueue.task.headers import LONGEST_VALUE, header_text

__all__ = ["LONGEST_VALUE", "HandlerError", "check", "header_text"]


class HandlerError(Exception):
    """A handler can't do what it was asked for. The text is for operators."""


def check(request: object, before: Request) -> None:
    """Refuse a change that a handler may not make; `before` is the request that it was given."""
    if not isinstance(request, Request):
        raise HandlerError("prepare must give a Request")
    if request.method not in METHODS:
        msg = f"method must be one of {', '.join(METHODS)}, got {str(request.method)[:20]!a}"
        raise HandlerError(msg)
    if not (_is(request.url, str) and _is(request.body, (bytes, type(None)))):
        raise HandlerError("url must be a text, and body bytes or None")
    try:
        headers.check(request.headers, before.headers)
    except ValueError as error:
        raise HandlerError(str(error)) from None
    if headers.own(request.headers) != headers.own(before.headers):
        raise HandlerError("headers Taskqueue-… and Idempotency-Key can't be changed")


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind)
