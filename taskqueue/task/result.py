"""How an attempt went, and whether that is a success: made by the request, read by the decision."""

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
    """Why the attempt failed for another reason than its status, None where the status decides."""
    retry_after: str | None
    """The Retry-After header as it came."""
    seconds: float
    """How long it took."""
    invalid: bool = False
    """No request was made, and none ever can be: the task asks for something impossible."""
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
    """Seconds until the next try, where no request was made: its host has enough of them, or this machine is
    short of something. It costs no run."""

    @property
    def made(self) -> bool:
        """A request was made, or at least begun."""
        return self.busy is None and not self.invalid


def succeeded(result: Result, policy: QueueSettings) -> bool:
    """Tell whether an attempt was a success."""
    return result.accepted or (result.error is None and result.status in policy.success_status)
