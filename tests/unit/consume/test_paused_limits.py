"""Limits over all consumers while a queue is paused: nothing of them is kept from others, or spent."""

from __future__ import annotations

from taskqueue.consume.permits import KEPT
from tests.support.broker_model import Broker, Entry
from tests.support.consumer_model import Process
from tests.support.permits_model import Site, attempt


def test_a_permit_goes_back_once_what_runs_with_it_has_ended() -> None:
    """Nobody here waits for another, so that the broker hands it to whoever runs."""
    # Given one task that runs, and one that waits for its permit
    site = Site()
    first, second = attempt("first"), attempt("second")
    site.permits.ask(first, site.begin, lambda: None)
    site.channel.hand_out(7)
    assert site.running == 1
    site.permits.ask(second, site.begin, lambda: None)
    # When the queue is paused
    assert site.permits.withdraw() == [second]
    # Then what runs keeps its permit, no other is asked for, and that one goes back at the end
    site.clock.now += KEPT
    site.permits.look()
    assert site.channel.requeued == [1]
    assert not site.channel.received
    site.running = 0
    site.permits.look()
    assert site.channel.requeued == [1, 7]
    assert site.running == 0


def test_a_pause_gives_back_what_waits_for_a_permit() -> None:
    """It has not begun, so it goes back to the queue for whoever runs it after the pause."""
    broker = Broker()
    process = Process(broker)
    site = Site()
    broker.places["q"].append(Entry(b'{"url": "/x"}', {}, {"message_id": "t"}))
    process.channel.deliver(0)
    waits = process.begin()
    assert waits is not None
    process.subscription._limits.permits = site.permits
    site.permits.ask(waits, site.begin, lambda: None)
    process.subscription.pause()
    broker.pump()
    while not broker.publishing:
        process.fire()
        broker.pump()
    # Published again, as one hand-out more would make it suspect.
    broker.publishing[0].confirm(0, multiple=False)
    broker.pump()
    assert [entry.id for entry in broker.places["q"]] == ["t"]
    assert not process.has(waits)
    assert (site.permits.idle, site.running) == (True, 0)
