"""Request handlers: they may change a request before it goes out, and judge its answer.

A handler is a class derived from Handler. A queue names its handlers in ``handlers``, by the name of an
entry point in the group ``taskqueue.handlers`` or as ``package.module:Class``. Each handler is made once
per queue, with the queue's settings, and is called from many threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it will be made. It is frozen: a handler gives back a changed copy."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    """None for a request without a body."""

    def header(self, name: str) -> str | None:
        """Look up a header. Upper and lower case are the same."""
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), None)

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """Give a copy with these headers set. Each replaces a header of the same name."""
        names = {name.lower() for name in headers}
        kept = {name: value for name, value in self.headers.items() if name.lower() not in names}
        return replace(self, headers={**kept, **headers})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said; `headers` by lower-case name, with commas between values that came twice."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """The first 64 KiB of the body, not decompressed."""
    whole: bool
    """Whether `body` is all of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A handler's opinion of an answer, in place of what its status says."""

    error: str | None = None
    """Why the attempt failed, None where it succeeded."""
    permanent: bool = False
    """With an error: no other attempt is made."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A task that is sent to the same queue after a success, and confirmed before the ack."""

    name: str
    """A name of its own. The id is ``<id>.<name>``, the same if a crash has the follow-up sent twice."""
    url: str
    """A path (joined to base_url) or a full http(s) URL."""
    payload: Any = field(default_factory=dict)
    """Any JSON: a text is sent as it is, anything else is encoded."""
    max_retries: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Handler:
    """Derive from this and override any of its methods. An exception fails the attempt.

    InvalidTask (taskqueue.errors) from `prepare` says that the task can never run: it is dead at once,
    reason ``invalid``.
    """

    def __init__(self, settings: QueueSettings) -> None:
        """Get ready for one queue; raise taskqueue.errors.ConfigError where its settings are not good."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Give the request to make: this one, or a changed one.

        The method may be one of GET, POST, PUT, PATCH and DELETE. Host, Content-Length, hop-by-hop
        headers, Idempotency-Key and headers that begin with Taskqueue- can't be changed.
        """
        del task
        return request

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Give a verdict on the answer, or None to leave it to the next handler and at last to the status."""
        del answer, task
        return None

    def follow(self, answer: Answer, task: Task) -> Sequence[FollowUp]:
        """Give the tasks that follow from a success; each needs a name of its own.

        An exception here fails the attempt like any other: the task runs again.
        """
        del answer, task
        return ()
