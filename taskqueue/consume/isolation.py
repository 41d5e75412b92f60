"""Runs one attempt with nothing beside it: for a task that may end the process it runs in.

When a consumer dies, the broker counts that against every task that the consumer held, guilty or not.
So a task that has been counted often runs alone. Before it runs, every queue of the process finishes
what runs and puts back what has not begun. If the process ends then, only this task is counted again.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol


class Member(Protocol):
    """One queue of the process."""

    @property
    def still(self) -> bool:
        """Whether it takes nothing, runs nothing, and waits for no confirm."""

    def suspend(self) -> None:
        """Take no more, and put back what has not begun."""

    def resume(self) -> None:
        """Take tasks again."""


class _State(enum.Enum):
    OPEN = enum.auto()
    EMPTYING = enum.auto()
    ALONE = enum.auto()


class Isolation:
    """Empties all members, lets one attempt run, and opens them again. On the I/O thread only."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._state = _State.OPEN
        self._begin: Callable[[], None] | None = None
        self._turn = 0

    @property
    def is_open(self) -> bool:
        """Tell whether the members take tasks."""
        return self._state is _State.OPEN

    def join(self, member: Member) -> None:
        """Take part from now on."""
        self._members.append(member)

    def ask(self, begin: Callable[[], None]) -> int:
        """Have `begin` called when nothing else is held; gives 0 where another attempt has asked before.

        Gives the number of this turn, for `hasten` and `finish`.
        """
        if self._state is not _State.OPEN:
            return 0
        self._state = _State.EMPTYING
        self._turn += 1
        self._begin = begin
        for member in self._members:
            member.suspend()
        return self._turn

    def hasten(self, turn: int) -> None:
        """Begin although something is still held: a request without an end must not hold up every queue."""
        if turn == self._turn and self._state is _State.EMPTYING:
            self._run_alone()

    def finish(self, turn: int) -> None:
        """Open the members although something is still held, for the same reason."""
        if turn == self._turn and self._state is not _State.OPEN:
            self._open()

    def progressed(self) -> None:
        """Look whether the next step is due. Call it whenever something of a member has ended."""
        if self._state is _State.OPEN or not all(member.still for member in self._members):
            return
        if self._state is _State.EMPTYING:
            self._run_alone()
        else:
            self._open()

    def _run_alone(self) -> None:
        self._state = _State.ALONE
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()

    def _open(self) -> None:
        self._state = _State.OPEN
        self._begin = None
        for member in self._members:
            member.resume()
