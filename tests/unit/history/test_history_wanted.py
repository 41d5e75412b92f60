"""Which records are looked for."""

from __future__ import annotations

from taskqueue.history.wanted import Wanted, used

FAILED = {"event": "retried", "queue": "mail", "url": "https://a.example/x", "at": 1}
DONE = {"event": "done", "queue": "mail", "url": "https://a.example/x", "at": 1}


def test_a_record_has_to_meet_all_conditions() -> None:
    """What it does not have is no match."""
    assert Wanted(0, 1).keep(DONE)
    assert Wanted(0, 1).named is None
    failed = Wanted(0, 1, failed=True, url="https://a.example/*", queues=frozenset({"mail"}))
    assert failed.keep(FAILED)
    assert not failed.keep(DONE)
    assert not failed.keep(FAILED | {"url": "https://b.example/x"})
    assert not failed.keep(FAILED | {"queue": "sms"})
    assert not failed.keep({"event": "dead", "queue": "mail", "at": 1})
    assert failed.named == frozenset({"retried", "dead", "void"})


def test_only_columns_with_something_in_them_are_shown() -> None:
    """In their order."""
    assert used([{"at": 1, "event": "done", "by": None}, {"queue": "q"}]) == ("at", "event", "queue")
    assert used([]) == ()
