"""The book of schedules: what is due, what was missed, and what a changed ini makes of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.cron import cron
from taskqueue.schedule.book import LATE, Book, Entry, declared, latest, paused, resumed, turn, upcoming
from taskqueue.settings.schedules import Definition

HOURLY = Definition("0 * * * *", "/x")
MINUTELY = Definition("* * * * *", "/x")
NOON = int(datetime.fromisoformat("2026-11-27T12:00:00+00:00").timestamp())
HOUR, MINUTE, WEEK = 3600, 60, 7 * 86_400


def book_of(**definitions: Definition) -> Book:
    """Declare a book half an hour before noon."""
    return declared(Book(), definitions, NOON - HOUR / 2)


def ids(book: Book, now: float) -> list[str]:
    """Give what is due, by the ids of the tasks."""
    return [each.id for each in turn(book, now).occurrences]


def test_nothing_is_due_before_its_time_and_the_book_stays_the_same() -> None:
    """By a millisecond, so that none is early."""
    book = book_of(nightly=HOURLY)
    assert book.wake == NOON
    found = turn(book, NOON - 0.001)
    assert found.book is book
    assert not found.occurrences


def test_an_occurrence_has_the_id_of_its_instant_and_is_due_once() -> None:
    """However late it is looked at, and whatever zone it is in."""
    book = book_of(nightly=replace(HOURLY, timezone="Asia/Kolkata"))
    assert ids(book, NOON - HOUR / 2 + 1) == []
    found = turn(book, NOON + HOUR / 2)
    assert [each.id for each in found.occurrences] == ["nightly@2026-11-27T12:30:00Z"]
    assert found.occurrences[0].missed is None
    assert found.book.wake == NOON + 3 * HOUR / 2
    assert found.book.entries["nightly"].last == NOON + HOUR // 2
    assert turn(found.book, NOON + HOUR / 2).book is found.book


def test_what_is_a_little_late_is_enqueued_one_by_one() -> None:
    """A restart of the broker is no outage: no id is left out."""
    book = declared(Book(), {"a": Definition("*/10 * * * * *", "/x")}, NOON)
    found = turn(book, NOON + LATE)
    assert [each.instant - NOON for each in found.occurrences] == [10, 20, 30, 40, 50, 60]
    assert {each.missed for each in found.occurrences} == {None}


@pytest.mark.parametrize(("hours", "expected"), [(1, 1), (3, 3), (24 * 7, 24 * 7)])
def test_what_was_missed_runs_once_under_the_id_of_the_last(hours: int, expected: int) -> None:
    """And says how many it stands for; what comes next is not changed by it."""
    found = turn(book_of(nightly=HOURLY), NOON + (hours - 1) * HOUR + HOUR / 2)
    (occurrence,) = found.occurrences
    assert occurrence.instant == NOON + (hours - 1) * HOUR
    assert occurrence.missed == expected
    assert found.book.wake == NOON + hours * HOUR


def test_what_was_missed_is_skipped_where_the_ini_says_so_and_what_is_in_time_is_not() -> None:
    """Back a moment after noon, with the one of noon among what is due."""
    book = declared(Book(), {"a": replace(HOURLY, missed="skip")}, NOON - 3.5 * HOUR)
    found = turn(book, NOON + 1)
    assert [(each.id, each.missed) for each in found.occurrences] == [("a@2026-11-27T12:00:00Z", None)]
    (skipped,) = found.skipped
    assert (skipped.count, skipped.first, skipped.last) == (3, NOON - 3 * HOUR, NOON - HOUR)


def test_one_in_time_is_enqueued_beside_the_one_for_those_that_were_missed() -> None:
    """Each instant is either in time, or counted."""
    book = declared(Book(), {"a": HOURLY}, NOON - 3.5 * HOUR)
    found = turn(book, NOON + 1)
    assert [(each.instant, each.missed) for each in found.occurrences] == [(NOON - HOUR, 3), (NOON, None)]


def test_a_clock_that_went_back_enqueues_nothing_again() -> None:
    """What is next stays next."""
    after = turn(book_of(a=HOURLY), NOON + 1).book
    assert turn(after, NOON - WEEK).book is after
    assert ids(after, NOON + HOUR) == ["a@2026-11-27T13:00:00Z"]


def test_a_paused_schedule_enqueues_nothing_and_makes_up_for_nothing() -> None:
    """Not for a week: it goes on with what comes after."""
    book = paused(book_of(a=HOURLY), "a", NOON - 1)
    assert book.wake is None
    assert turn(book, NOON + WEEK).book is book
    again = resumed(book, "a", NOON + WEEK + 1)
    assert again.wake == NOON + WEEK + HOUR
    assert paused(book, "a", NOON) is book
    assert resumed(again, "a", NOON) is again


def test_a_pause_survives_a_changed_ini() -> None:
    """What an operator has stopped, no deploy starts."""
    book = paused(book_of(a=HOURLY), "a", NOON - 1)
    book = declared(book, {"a": MINUTELY}, NOON + HOUR)
    assert book.wake is None
    assert resumed(book, "a", NOON + HOUR + 1).wake == NOON + HOUR + MINUTE


def test_the_same_ini_again_changes_nothing() -> None:
    """As declare is run at each deploy."""
    book = book_of(a=HOURLY, b=MINUTELY)
    assert declared(book, {"a": HOURLY, "b": MINUTELY}, NOON - 1) is book


def test_a_changed_cron_counts_from_then_on_and_never_both() -> None:
    """The old one before, the new one after, whoever has which ini."""
    book = book_of(a=HOURLY)
    book = declared(book, {"a": Definition("30 * * * *", "/x")}, NOON - 60)
    assert ids(book, NOON + 1) == []
    assert ids(book, NOON + HOUR / 2) == ["a@2026-11-27T12:30:00Z"]


def test_what_is_due_at_the_moment_of_a_change_is_not_lost() -> None:
    """Declared between the instant and the wake-up: changed, renamed or removed, it is enqueued once."""
    for definitions in ({"a": Definition("30 * * * *", "/x")}, {"b": HOURLY}, {}):
        book = declared(book_of(a=HOURLY), definitions, NOON + 0.2)
        found = turn(book, NOON + 0.3)
        assert [each.id for each in found.occurrences] == ["a@2026-11-27T12:00:00Z"]
        assert set(found.book.entries) == set(definitions)
        assert "a@2026-11-27T13:00:00Z" not in ids(found.book, NOON + HOUR) or "a" in definitions


def test_a_changed_cron_leaves_out_nothing_of_what_waits() -> None:
    """Three were missed by the old cron and one is in time; the new one counts from the change on."""
    book = declared(Book(), {"a": HOURLY}, NOON - 3.5 * HOUR)
    book = declared(book, {"a": Definition("*/30 * * * *", "/x")}, NOON + 1)
    assert book.wake == NOON - 3 * HOUR
    assert upcoming(book.entries["a"], 2) == (NOON - 3 * HOUR, NOON + HOUR // 2)
    found = turn(book, NOON + 2)
    assert [(each.instant, each.missed) for each in found.occurrences] == [(NOON - HOUR, 3), (NOON, None)]
    assert found.book.wake == NOON + HOUR // 2
    assert found.book.entries["a"].former is None


def test_a_changed_cron_has_what_was_missed_skipped_where_the_ini_says_so() -> None:
    """Whichever cron it was missed by, the log says which."""
    book = declared(Book(), {"a": HOURLY}, NOON - 3.5 * HOUR)
    book = declared(book, {"a": Definition("30 * * * *", "/x", missed="skip")}, NOON - 0.75 * HOUR)
    found = turn(book, NOON - 0.25 * HOUR)
    assert not found.occurrences
    (skipped,) = found.skipped
    assert (skipped.first, skipped.last, skipped.count) == (NOON - 3 * HOUR, NOON - HOUR // 2, 4)


def test_what_is_due_is_not_lost_with_a_removed_section_for_what_was_missed_before_it() -> None:
    """The first is older than a minute, and goes with the section; those within a minute come."""
    book = declared(Book(), {"a": MINUTELY}, NOON)
    book = declared(book, {}, NOON + 3 * MINUTE + 1)
    found = turn(book, NOON + 3 * MINUTE + 2)
    assert [(each.instant - NOON, each.missed) for each in found.occurrences] == [(3 * MINUTE, None)]
    assert not found.book.entries


def test_a_clock_behind_enqueues_what_waits_bit_by_bit() -> None:
    """Nothing early, whoever has changed the cron: the rest waits for its time."""
    book = declared(Book(), {"a": MINUTELY}, NOON)
    book = declared(book, {"a": HOURLY}, NOON + 3 * MINUTE)
    some = turn(book, NOON + MINUTE + 1)
    assert [each.instant - NOON for each in some.occurrences] == [MINUTE]
    assert some.book.wake == NOON + 2 * MINUTE
    rest = turn(some.book, NOON + 3 * MINUTE)
    assert [each.instant - NOON for each in rest.occurrences] == [2 * MINUTE, 3 * MINUTE]


CRONS = ("*/5 * * * *", "*/7 * * * *", "1 * * * *")


@given(st.lists(st.tuples(st.floats(0, 3000), st.sampled_from((*CRONS, None))), min_size=1, max_size=15))
def test_each_instant_of_whatever_cron_counted_is_enqueued_or_counted_exactly_once(
    steps: list[tuple[float, str | None]],
) -> None:
    """Over any order of changes of the cron and looks (None), however many of it lie in one outage."""
    now, current = float(NOON), CRONS[0]
    book = declared(Book(), {"a": Definition(current, "/x")}, now)
    expected = covered = 0
    for after, changed in (*steps, (0.0, None)):
        since, now = now, now + after
        expected += sum(1 for _ in takewhile(lambda each: each <= now, cron(current, "UTC").after(since)))  # noqa: B023
        if changed is not None:
            current = changed
            book = declared(book, {"a": Definition(current, "/x")}, now)
            continue
        found = turn(book, now)
        covered += sum(each.missed or 1 for each in found.occurrences)
        book = found.book
    assert covered == expected


def test_a_removed_section_is_gone_and_an_outage_before_it_is_not_made_up_for() -> None:
    """Who removes a schedule does not want it to run once more, hours later."""
    assert declared(book_of(a=HOURLY), {}, NOON + 2.5 * HOUR).entries == {}
    assert declared(book_of(a=HOURLY), {}, NOON - 1).entries == {}


def test_a_schedule_that_moves_to_another_queue_leaves_nothing_out() -> None:
    """Whichever queue is written first: what is due in between comes from one of both at least."""
    for removed, added in ((NOON - 0.2, NOON + 0.2), (NOON + 0.2, NOON - 0.2)):
        before = declared(book_of(a=HOURLY), {}, removed)
        after = declared(Book(), {"a": HOURLY}, added, since=NOON - 0.3)
        assert "a@2026-11-27T12:00:00Z" in ids(before, NOON + 1) + ids(after, NOON + 1)


def test_a_changed_url_changes_no_time() -> None:
    """Only what is sent."""
    book = declared(book_of(a=HOURLY), {"a": replace(HOURLY, url="/other")}, NOON - 1)
    (found,) = turn(book, NOON).occurrences
    assert (found.instant, found.definition.url) == (NOON, "/other")


def test_a_clock_behind_does_not_enqueue_again_what_a_changed_ini_has_behind_it() -> None:
    """The machine that declares may be late by seconds."""
    after = turn(book_of(a=HOURLY), NOON).book
    changed = declared(after, {"a": Definition("0,30 * * * *", "/x")}, NOON - 5)
    assert changed.wake == NOON + HOUR // 2


def test_the_latest_of_several_copies_counts_and_what_people_changed_first() -> None:
    """Copies are left by a crash between a confirm and an ack; in a parted cluster they may fork."""
    first = book_of(a=HOURLY)
    second = turn(first, NOON).book
    by_hand = paused(first, "a", NOON)
    much_later = replace(second, version=second.version + 9)
    assert latest([second, first]) is second
    assert latest([first, much_later, by_hand]) is by_hand


def test_the_next_times_are_listed() -> None:
    """Three of them, and none of what never comes."""
    book = book_of(a=HOURLY)
    assert upcoming(book.entries["a"], 3) == (NOON, NOON + HOUR, NOON + 2 * HOUR)
    assert upcoming(Entry(HOURLY, None), 3) == ()


@given(st.lists(st.floats(0, 20_000), min_size=1, max_size=12))
def test_whenever_it_is_looked_at_each_instant_is_enqueued_or_counted_exactly_once(
    looks: list[float],
) -> None:
    """However the looks lie, also where the clock goes back between two."""
    book = declared(Book(), {"a": Definition("*/5 * * * *", "/x")}, NOON)
    covered = 0
    for look in looks:
        found = turn(book, NOON + look)
        for each in found.occurrences:
            assert each.instant <= NOON + look
            covered += each.missed or 1
        book = found.book
    assert covered == int(max(looks) // 300)
