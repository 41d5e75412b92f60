"""One attempt with nothing beside it: every member is emptied first, and opened again after it."""

from __future__ import annotations

from taskqueue.consume.isolation import Isolation


class Member:
    """A queue whose state the test sets."""

    def __init__(self, isolation: Isolation) -> None:
        self.still = False
        self.suspended = False
        isolation.join(self)

    def suspend(self) -> None:
        """Note it."""
        self.suspended = True

    def resume(self) -> None:
        """Note it."""
        self.suspended = False
        self.still = False


def test_it_begins_once_every_member_is_still_and_opens_them_after_it() -> None:
    """The member that asked is one of them: it is still again when its attempt is settled."""
    isolation = Isolation()
    first, second = Member(isolation), Member(isolation)
    begun: list[str] = []

    def begin() -> None:
        begun.append("attempt")
        first.still = False

    assert isolation.ask(begin)
    assert (first.suspended, second.suspended) == (True, True)
    first.still = True
    isolation.progressed()
    assert begun == []
    second.still = True
    isolation.progressed()
    isolation.progressed()
    assert begun == ["attempt"]
    assert (first.suspended, second.suspended) == (True, True)
    first.still = True
    isolation.progressed()
    assert (first.suspended, second.suspended) == (False, False)


def test_a_second_attempt_has_to_ask_again() -> None:
    """It is put back, and comes again when the members are open."""
    isolation = Isolation()
    member = Member(isolation)
    assert isolation.ask(lambda: None)
    assert not isolation.ask(lambda: None)
    member.still = True
    isolation.progressed()
    isolation.progressed()
    assert not member.suspended
    assert isolation.ask(lambda: None)


def test_what_does_not_end_holds_nobody_up_for_ever() -> None:
    """A turn begins, and ends, at the latest when its time is over; an old turn's time changes nothing."""
    isolation = Isolation()
    member = Member(isolation)
    seen: list[object] = []
    turn = isolation.ask(lambda: seen.append("attempt"))
    isolation.hasten(turn)
    isolation.hasten(turn)
    seen.append(member.suspended)
    isolation.finish(turn)
    seen.append(member.suspended)
    later = isolation.ask(lambda: seen.append("later"))
    isolation.hasten(turn)
    isolation.finish(turn)
    seen.append(member.suspended)
    isolation.finish(later)
    seen.append(member.suspended)
    assert seen == ["attempt", True, False, True, False]
