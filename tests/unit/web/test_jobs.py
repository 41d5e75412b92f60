"""What takes a while: one at a time in a place, stopped where nobody waits, and its faults are told."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from taskqueue.errors import NotKnown
from taskqueue.web.jobs import Job, Jobs, Stopped

PATIENCE = 60.0


async def forever() -> None:
    """Wait for what never comes."""
    await asyncio.Event().wait()


def ended(job: Job) -> Job:
    """Wait for the end of a job."""
    assert job.done.wait(PATIENCE)
    return job


def test_a_job_gives_what_its_work_gives() -> None:
    """And says how far it is."""

    def work(job: Job) -> int:
        job.tell(3, 7)
        return job.run(asyncio.sleep(0, 42))

    job = ended(Jobs().start("here", work))
    assert (job.result, job.error, job.looked, job.total) == (42, None, 3, 7)


def test_jobs_of_one_place_come_one_after_the_other() -> None:
    """Those of others do not wait for them."""
    jobs, may_end = Jobs(), threading.Event()
    first = jobs.start("here", lambda _: may_end.wait(PATIENCE))
    second = jobs.start("here", lambda _: first.done.is_set())
    assert ended(jobs.start("there", lambda _: second.waits)).result is True
    may_end.set()
    assert ended(first).result is True
    assert not ended(second).waits


def test_a_job_that_is_stopped_says_so() -> None:
    """While it runs, and before it has begun."""
    jobs, running = Jobs(), threading.Event()

    async def wait() -> None:
        running.set()
        await forever()

    first = jobs.start("here", lambda job: job.run(wait()))
    second = jobs.start("here", lambda job: job.run(forever()))
    assert running.wait(PATIENCE)
    second.stop()
    assert isinstance(ended(second).error, Stopped)
    asyncio.run(jobs.close())
    assert isinstance(ended(first).error, Stopped)


def test_a_job_that_is_stopped_before_it_asks_the_broker_asks_nothing() -> None:
    """And leaves nothing undone behind, which Python would complain of."""
    stopped = threading.Event()

    def work(job: Job) -> None:
        assert stopped.wait(PATIENCE)
        job.run(forever())

    job = Jobs().start("here", work)
    job.stop()
    stopped.set()
    assert isinstance(ended(job).error, Stopped)
    gc.collect()


def test_the_same_look_is_made_once() -> None:
    """However many ask for it, until its result was shown."""
    jobs, may_end = Jobs(), threading.Event()
    look = jobs.look("mail", "here", lambda _: may_end.wait(PATIENCE))
    assert jobs.look("mail", "here", lambda _: None) is look
    may_end.set()
    assert asyncio.run(look.wait(PATIENCE))
    jobs.forget("mail")
    again = jobs.look("mail", "here", lambda _: 1)
    assert again is not look
    assert ended(again).result == 1


def test_a_look_that_nobody_waits_for_is_stopped() -> None:
    """An act is not: it ends whether somebody looks at it or not. Both are forgotten at last."""
    now = [0.0]
    jobs, may_end = Jobs(lambda: now[0]), threading.Event()
    look = jobs.look("mail", "here", lambda job: job.run(forever()))
    act = jobs.start("there", lambda _: may_end.wait(PATIENCE))
    jobs.tidy()
    assert not look.done.is_set()
    now[0] += 30
    jobs.tidy()
    assert isinstance(ended(look).error, Stopped)
    may_end.set()
    assert ended(act).error is None
    assert jobs.get(act.id) is act
    now[0] += 4000
    jobs.tidy()
    assert jobs.get(act.id) is None


def test_there_is_an_end_to_how_many_are_under_way() -> None:
    """So that a page that is asked again and again starts no threads without end."""
    jobs, may_end = Jobs(), threading.Event()
    every = [jobs.start(str(number), lambda _: may_end.wait(PATIENCE)) for number in range(16)]
    with pytest.raises(NotKnown, match="under way"):
        jobs.start("one more", lambda _: None)
    may_end.set()
    for job in every:
        ended(job)
    assert ended(jobs.start("one more", lambda _: 1)).result == 1


def test_a_fault_of_our_own_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """They are in the log, and may hold anything."""

    def work(_job: Job) -> None:
        raise ValueError("SECRET")

    job = ended(Jobs().start("here", work))
    assert "SECRET" not in str(job.error)
    assert "its log" in str(job.error)
    assert "SECRET" in caplog.text
