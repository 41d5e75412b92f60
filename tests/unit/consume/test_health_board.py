"""Alive and ready, for one process and several: from pulses and a clock to reasons."""

from __future__ import annotations

from taskqueue.consume.health import STALE, Board, Pulse, QueueReport, Report

FINE = QueueReport(consumed=True, running=2)
AWAY = QueueReport(consumed=False)


def pulse(*, connected: bool = True, stopping: bool = False, **queues: QueueReport) -> Pulse:
    """Sum up what a consumer says."""
    return Pulse.of(Report(connected, blocked=False, stopping=stopping, queues=queues))


class Clock:
    """A clock that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


def test_a_process_that_says_so_is_alive_whatever_the_broker_does() -> None:
    """A restart brings no broker back."""
    board = Board()
    board.take(1, pulse(connected=False, mail=AWAY))
    assert board.faults() == []
    assert board.reasons() == ["not connected to the broker"]


def test_an_io_thread_that_does_not_tick_is_a_fault() -> None:
    """After a while that no busy machine takes; and it is not ready either."""
    clock = Clock()
    board = Board(2, clock=clock)
    board.take(1, pulse(mail=FINE))
    board.take(2, pulse(mail=FINE))
    clock.now = STALE
    board.take(1, pulse(mail=FINE))
    assert board.faults() == []
    clock.now = STALE + 2
    assert board.faults() == ["process 2: its I/O thread has not ticked for 17 s"]
    assert board.reasons() == board.faults()
    board.take(2, pulse(mail=FINE))
    assert board.faults() == board.reasons() == []


def test_a_process_that_is_started_again_is_no_fault() -> None:
    """That is its supervisor's work; it is not ready until it consumes."""
    clock = Clock()
    board = Board(2, clock=clock)
    board.take(1, pulse(mail=FINE))
    board.take(2, pulse(mail=FINE))
    board.ended(2)
    clock.now = 300
    board.take(1, pulse(mail=FINE))
    assert board.faults() == []
    assert board.reasons() == ["process 2: has ended, and is started again"]
    board.began(2)
    assert board.reasons() == ["process 2: is starting"]
    clock.now = 600
    board.take(1, pulse(mail=FINE))
    assert board.faults() == ["process 2: does not begin: started 300 s ago"]


def test_each_queue_has_to_be_consumed_or_paused() -> None:
    """And those that are not are named, though never all of very many."""
    board = Board()
    board.take(1, pulse(a=FINE, b=AWAY, c=QueueReport(consumed=False, paused=True)))
    assert board.reasons() == ["queue b is not consumed"]
    assert board.paused() == ["c"]
    many = {f"q{number}": AWAY for number in range(1000)}
    board.take(1, Pulse.of(Report(connected=True, blocked=False, stopping=False, queues=many)))
    assert len(board.reasons()) == 11
    assert board.reasons()[-1] == "990 more queues are not consumed"


def test_who_stops_is_not_ready() -> None:
    """Nobody is to count on it, and what runs is counted down."""
    board = Board()
    board.take(1, pulse(stopping=True, a=FINE, b=FINE))
    assert (board.reasons(), board.stopping, board.running) == (["stopping"], True, 4)
    assert board.faults() == []
