"""The URL of a request, as task/address.py reads it; what that refuses is the fault of the task."""

from __future__ import annotations

from taskqueue.request.http.fault import Blame, RequestFailed
from taskqueue.task import address
from taskqueue.task.address import PORTS, Origin, quoted

__all__ = ["PORTS", "Origin", "origin", "quoted", "refused", "split"]


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


def refused(why: str) -> RequestFailed:
    """Make the error for a URL to which no request can ever be made."""
    return RequestFailed(f"url refused: {why}", blame=Blame.TASK)
