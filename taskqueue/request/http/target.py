"""The URL of a request, as task/address.py reads it; what that refuses is the fault of the task."""

from __future__ import annotations

from taskqueue.redact import redacted
from taskqueue.request.http.fault import Blame, RequestFailed
from taskqueue.task import address
from taskqueue.task.address import PORTS, Origin, quoted
from taskqueue.task.fields import is_full

__all__ = ["PORTS", "Origin", "origin", "quoted", "refused", "split", "without_login"]


def split(url: str) -> tuple[str, str, str]:
    """Split a URL into scheme, authority, and path with query; raises RequestFailed."""
    try:
        return address.split(url)
    except ValueError as error:
        raise refused(str(error)) from error


def origin(scheme: str, authority: str) -> Origin:
    """Read an authority (``host``, ``host:port``); raises RequestFailed on anything unusual in it."""
    try:
        return address.origin(scheme, authority)
    except ValueError as error:
        raise refused(str(error)) from error


def without_login(url: str) -> str:
    """Write the URL of a task for others: unchanged, unless it may hold a user and a password."""
    if "@" not in url or not is_full(url):
        return url
    try:
        address.origin(*address.split(url)[:2])
    except ValueError:
        return redacted(url)
    return url


def refused(why: str) -> RequestFailed:
    """Make the error for a URL to which no request can ever be made."""
    return RequestFailed(f"url refused: {why}", blame=Blame.TASK)
