"""How an attempt went, as data: what the request gives, and what a decision is made of."""

from __future__ import annotations

from dataclasses import dataclass

from taskqueue.settings import QueueSettings


@dataclass(frozen=True, slots=True)
class Following:
    """A task that follows from a success, ready to be published."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt went."""

    status: int | None
    """The answer's status, None where none came."""
    error: str | None
    """Why the attempt failed before or beside its status, None where the status decides."""
    retry_after: str | None
    """The Retry-After header as it came."""
    seconds: float
    """How long it took."""
    invalid: bool = False
    """No request was made, and none ever can be: the task asks for what is not possible."""
    permanent: bool = False
    """A handler said that no other attempt makes sense."""
    accepted: bool = False
    """A handler said that it has succeeded, whatever the status."""
    stop: str | None = None
    """Why the receiver asks for no other attempt, None where it does not."""
    host: str | None = None
    """The host that answered."""
    following: tuple[Following, ...] = ()
    """The tasks that follow from its success."""
    busy: float | None = None
    """No request was made, as its host has enough of them, or this machine too little of something: the
    seconds until it is worth a look. It costs no run."""


def succeeded(result: Result, policy: QueueSettings) -> bool:
    """Tell whether an attempt was a success."""
    return result.accepted or (result.error is None and result.status in policy.success_status)
