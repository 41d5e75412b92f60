"""Schedules for tests: one that is due every few seconds, and what the receiver saw of it.

A cron of the ini has no seconds. Consumers go by what stands in the broker, so a test writes one with seconds
there, as `declare` would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from sandbox.receiver import Request
from taskqueue.broker.session import Session, connected, run
from taskqueue.declare.apply import declare
from taskqueue.schedule.book import Book
from taskqueue.schedule.holding import hold, read
from taskqueue.settings import Settings
from taskqueue.settings.schedules import Definition, ScheduleSettings
from tests.support.stage import Stage

NAME = "fast"
HOURLY = {"cron": "0 * * * *", "url": "/fast"}


def configure(stage: Stage, names: Mapping[str, Mapping[str, str]] | None = None) -> Settings:
    """Write an ini with schedules for the queue of a stage; by default one, which is due each hour."""
    sections = {
        f"schedule:{name}": {"queue": stage.name, **keys}
        for name, keys in ({NAME: HOURLY} if names is None else names).items()
    }
    return stage.configure(others=sections)


def write(stage: Stage, **crons: str) -> None:
    """Declare schedules whose crons may have seconds, whatever the ini of the stage says of them."""
    schedules = {
        name: ScheduleSettings(name, stage.name, Definition(cron, f"/{name}")) for name, cron in crons.items()
    }
    declare(replace(stage.settings, schedules=schedules))


def book(stage: Stage) -> Book:
    """Read the book of a stage's queue."""

    async def look() -> Book:
        async with connected(stage.settings, name="test") as session:
            return await read(session, stage.name)

    return run(look())


def rewrite(stage: Stage, made: Book) -> None:
    """Put another book in the place of that of a stage, as if it had come about."""

    async def work(session: Session) -> None:
        async with hold(session, stage.name) as held:
            edition = held.book.edition + 1
            await held.replace(replace(made, edition=edition, version=held.book.version + 1))

    async def all_of_it() -> None:
        async with connected(stage.settings, name="test") as session:
            await work(session)

    run(all_of_it())


def occurrences(requests: list[Request], name: str = NAME) -> list[int]:
    """Give the instants of a schedule for which requests came, in that order."""
    ids = [request.headers["Taskqueue-Id"] for request in requests]
    return [
        int(datetime.fromisoformat(each.partition("@")[2]).timestamp())
        for each in ids
        if each.partition("@")[0] == name
    ]


def gapless(requests: list[Request], count: int) -> bool:
    """Tell whether so many seconds one after the other have come; two requests may overtake each other."""
    instants = sorted(occurrences(requests))
    return len(instants) >= count and instants == list(range(instants[0], instants[0] + len(instants)))


def lateness(requests: list[Request]) -> list[float]:
    """Give by how much each request came later than the instant of its id; negative where it was early."""
    return [
        request.at - datetime.fromisoformat(request.headers["Taskqueue-Id"].partition("@")[2]).timestamp()
        for request in requests
    ]
