"""The errors: one base and a few leaves, each with its exit code for the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class TaskqueueError(Exception):
    """Base of every error that taskqueue raises; its text is one line that says what to do next."""

    exit_code: ClassVar[int] = 1


class ConfigError(TaskqueueError):
    """taskqueue.ini (or an option) holds something that can't be used. The text names file, line and key."""

    exit_code = 2


class InvalidTask(TaskqueueError):
    """A message that can't be a task. `field` names the part that is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class BrokerUnreachable(TaskqueueError):
    """No broker of the configuration could be reached, or none let us in: login, virtual host, a limit."""

    exit_code = 3


class BrokerRefused(TaskqueueError):
    """The broker answered and refused: permissions, version, or a missing feature."""


class AccessRefused(BrokerRefused):
    """The user lacks a permission for what was asked."""


class NotDeclared(TaskqueueError):
    """A queue or an exchange that should exist does not: run `taskqueue declare`."""


class TopologyConflict(TaskqueueError):
    """Something of the same name exists with other arguments; nothing was changed."""


class PublishFailed(TaskqueueError):
    """The broker did not take responsibility for a message: nacked, returned, or never confirmed.

    `ids` are those of the tasks of a send that are not confirmed, as far as it had got: sent again, they keep
    them, as the broker may have them all the same.
    """

    def __init__(self, reason: str, *, ids: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.ids = tuple(ids)


class NotKnown(TaskqueueError):
    """The broker did not answer in time, so what was asked is not known."""
