"""What the demo tells: each task that is sent, what must become of it, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sandbox.receiver import Answer, Request

LATE = 3.0
"""Seconds that a request may be late here; on a machine that does nothing else it is some milliseconds."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One task, by its id; its url is the id as a path."""

    id: str
    sent: str
    must: str
    """What must happen, in words."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `Client.send`."""
    raw: bytes | None = None
    """Published as it is, instead of being sent by the client."""
    answers: Sequence[int | Answer] = ()
    """What the receiver answers: as many requests as this must come."""
    reason: str | None = None
    """Why it must be dead in the end, None where it must succeed."""
    roll_back: str | None = None
    """The path that must be called once it is dead."""

    @property
    def path(self) -> str:
        """Give the path that it calls."""
        return f"/{self.id}"

    @property
    def paths(self) -> tuple[str, ...]:
        """List the paths at which requests of this task arrive."""
        return (self.path,) if self.roll_back is None else (self.path, self.roll_back)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request for a task."""

    path: str
    attempt: int
    status: int
    late: float
    """Seconds after its due time."""


def scenes(now: float) -> tuple[Scene, ...]:
    """Write the story; `now` is what its etas are counted from (POSIX seconds)."""
    later = Answer(429, {"Retry-After": "3"})
    return (
        Scene("now", "a payload", "runs at once", {"payload": {"user": 7}}, answers=[200]),
        Scene("countdown", "countdown=2.5", "runs in 2.5 s", {"countdown": 2.5}, answers=[200]),
        Scene("eta", "eta=in 5 s", "runs at that time", {"eta": now + 5}, answers=[200]),
        Scene("flaky", "it will fail twice", "3 attempts, 1 s and 2 s apart", answers=[500, 503, 200]),
        Scene("busy", "the answer will be 429", "retried after its Retry-After, 3 s", answers=[later, 200]),
        Scene(
            "hopeless", "max_retries=2, roll_back=/undo", "2 attempts, then roll_back, dead",
            {"max_retries": 2, "roll_back": "/undo"}, answers=[500, 500], reason="failed", roll_back="/undo",
        ),
        Scene("expired", "expires=a second ago", "never runs, dead", {"expires": now - 1}, reason="expired"),
        Scene("invalid", "a message that is no JSON", "never runs, dead", raw=b"{oops", reason="invalid"),
    )  # fmt: skip


def seen(scene: Scene, requests: Sequence[Request]) -> list[Seen]:
    """Pick the requests of one task out of all."""
    found = []
    for request in requests:
        path = urlsplit(request.path).path
        if path in scene.paths:
            attempt = int(request.headers["Taskqueue-Attempt"])
            late = request.at - float(request.headers["Taskqueue-Due"])
            found.append(Seen(path, attempt, _status(scene, path, attempt), late))
    return found


def finished(scene: Scene, came: Sequence[Seen], dead: Mapping[str, str]) -> bool:
    """Tell whether everything that must happen has happened (and maybe more than that)."""
    expected = len(scene.answers) + (scene.roll_back is not None)
    return len(came) >= expected and (scene.reason is None or scene.id in dead)


def faults(scene: Scene, came: Sequence[Seen], dead: Mapping[str, str]) -> list[str]:
    """List what did not happen as it must; empty where all did."""
    attempts = [one.attempt for one in came if one.path == scene.path]
    calls = sum(one.path == scene.roll_back for one in came)
    found = []
    if attempts != list(range(1, len(scene.answers) + 1)):
        found.append(f"{scene.id}: {len(scene.answers)} attempts expected, came: {attempts}")
    if calls != (scene.roll_back is not None):
        found.append(f"{scene.id}: roll_back was called {calls} times")
    if dead.get(scene.id) != scene.reason:
        found.append(f"{scene.id}: dead should be {scene.reason}, is {dead.get(scene.id)}")
    found += [f"{scene.id}: early by {-one.late:.3f} s" for one in came if one.late < 0]
    found += [f"{scene.id}: late by {one.late:.3f} s" for one in came if one.late > LATE]
    return found


def _status(scene: Scene, path: str, attempt: int) -> int:
    if path != scene.path or attempt > len(scene.answers):
        return 200
    answer = scene.answers[attempt - 1]
    return answer if isinstance(answer, int) else answer.status
