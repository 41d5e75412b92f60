"""What a consumer knows of the probes of one ladder."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Round:
    """The probes of one ladder, as this consumer sees them. Times are monotonic."""

    ladder: str
    held: int | None = None
    """The tag of the newest message that came; None where another consumer sends the probes."""
    since: float = 0.0
    """When that came."""
    probe: str | None = None
    """The id of the one that is out."""
    sent: float | None = None
    """When it was sent; None where it is not sent yet."""
    awaited: float | None = None
    """When the first one was sent of those that have not come back."""
    tries: int = 0
    """How many were sent in place of it, as it did not come back."""
    told: bool = False
    """The log says that the ladder is late."""
    barred: bool = False
    """The broker does not let us, or its queue is away."""

    def forget(self) -> None:
        """Expect none back."""
        self.probe = self.sent = self.awaited = None
