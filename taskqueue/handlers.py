"""Request handlers: what each queue may do to a request before it goes out, and make of its answer.

A handler is a class derived from Handler. Queues name theirs in ``handlers``, by the name of an
entry point in the group ``taskqueue.handlers`` or as ``package.module:Class``; each is made once
per queue with the queue's settings, and called from many threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it will be made; changed by replacing it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    """None for a request that has none."""

    def header(self, name: str) -> str | None:
        """Look up a header, whatever case it is written in."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Give the same request with these headers set, each in place of one of the same name."""
        names = {name.lower() for name in headers}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return replace(self, headers={**kept, **headers})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said; `headers` by lower-case name, those that came twice joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Its first 64 KiB, not decompressed."""
    whole: bool
    """Whether that is all of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A handler's opinion of an answer, in place of what its status says."""

    error: str | None = None
    """Why the attempt failed, None where it succeeded."""
    permanent: bool = False
    """With an error: no other attempt is made."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A task that is sent to the same queue once this one has succeeded, confirmed before its ack."""

    name: str
    """What it is to the task: its id is ``<id>.<name>``, the same if it is sent twice after a crash."""
    url: str
    """A path (joined to base_url) or a full http(s) URL."""
    payload: Any = field(default_factory=dict)
    """Any JSON: a text is sent as it is, anything else encoded."""
    max_retries: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Handler:
    """Derive from this and override any of its methods. An exception fails the attempt.

    InvalidTask (taskqueue.errors) from `prepare` says that the task can't be run, now or later: it is
    dead at once, reason ``invalid``.
    """

    def __init__(self, settings: QueueSettings) -> None:
        """Get ready for one queue; raise taskqueue.errors.ConfigError where its settings don't do."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Give the request to make: this one, or a changed one.

        The method may be one of GET, POST, PUT, PATCH and DELETE. Host, Content-Length, hop-by-hop
        headers, Idempotency-Key and what begins with Taskqueue- stay as they are.
        """
        del task
        return request

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Give a verdict on the answer, or None to leave it to the next handler, last the status."""
        del answer, task
        return None

    def follow(self, answer: Answer, task: Task) -> Sequence[FollowUp]:
        """Give the tasks that follow from a success; each needs a name of its own.

        An exception here fails the attempt like any other: the task runs again.
        """
        del answer, task
        return ()
