"""What may be asked for beside acts on tasks: a pause and its end, a probe, and acts on schedules."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from taskqueue import events
from taskqueue.broker.session import Session, connected
from taskqueue.cron import moment
from taskqueue.errors import ConfigError
from taskqueue.history import acts
from taskqueue.operate import pause as pausing
from taskqueue.operate import probe as probing
from taskqueue.operate import schedules
from taskqueue.operate.overview import View
from taskqueue.operate.pause import Pause
from taskqueue.settings import Settings
from taskqueue.task.pause import said
from taskqueue.web.desk import NAME
from taskqueue.web.jobs import Job
from taskqueue.web.orders import Order, Outcome, Seen
from taskqueue.web.shown import number

log = logging.getLogger(__name__)

SCHEDULE_ACTS = {"run": "Run now", "pause": "Pause", "resume": "Resume"}
_PATIENCE, _COUNTDOWN = 10.0, 1.1


def on_queue(settings: Settings, view: View, fields: Mapping[str, str], by: str) -> Order:
    """Read what a form asks to be done with a queue; raises ConfigError. `by` is who asks for it."""
    what, queue, ladder = fields.get("act", ""), view.name, view.settings.ladder
    counts = (
        f"{number(view.state.ready)} ready, {number(view.state.unacked)} unacked and "
        f"{number(view.ladder.waiting)} waiting"
    )
    if what == "probe":
        return _probe(settings, queue, ladder)
    if what == "pause":
        given, reason = fields.get("lasts", "").strip(), fields.get("reason", "").strip() or None
        lasts_ms = pausing.milliseconds(given) if given else None

        def begin(job: Job) -> Outcome:
            now = time.time()
            about = Pause(by, reason, now, None if lasts_ms is None else now + lasts_ms / 1000)
            with acts.noted(
                settings, events.PAUSED, queue, tell=log.warning, at=about.until, reason=reason, by=by
            ) as note:
                job.run(
                    _in_session(settings, lambda s: pausing.pause(s, queue, ladder, about, lasts_ms=lasts_ms))
                )
                note(None)
            return Outcome(f"{queue}: paused{said(about)}")

        asked = f"Pause {queue}{f' for {given}' if given else ''}, with {counts}?"
        undo = "No task of it begins, on any consumer, until it is resumed. What runs ends."
        return Order(f"Pause {queue}", "pause", queue, f"pause {queue}", lambda _: Seen(asked), begin, undo)
    if what == "resume":

        def end(job: Job) -> Outcome:
            with acts.noted(settings, events.RESUMED, queue, tell=log.warning, by=by) as note:
                job.run(_in_session(settings, lambda s: pausing.resume(s, queue, ladder)))
                note(None)
            return Outcome(f"{queue}: not paused")

        asked = f"Resume {queue}, with {counts}?"
        undo = "What is ready runs at once, as fast as its limits allow."
        return Order(f"Resume {queue}", "resume", queue, f"pause {queue}", lambda _: Seen(asked), end, undo)
    raise ConfigError("what is to be done with the queue?")


def on_schedule(settings: Settings, name: str, fields: Mapping[str, str], by: str) -> Order:
    """Read what a form asks to be done with a schedule; raises ConfigError."""
    what, queue = fields.get("act", ""), settings.schedules[name].queue
    if what not in SCHEDULE_ACTS:
        raise ConfigError("what is to be done with the schedule?")
    event = {"run": events.SENT, "pause": events.PAUSED, "resume": events.RESUMED}[what]

    def do(job: Job) -> Outcome:
        with acts.noted(settings, event, queue, tell=log.warning, by=by) as note:
            if what == "run":
                sent = job.run(_in_session(settings, lambda s: schedules.run(s, settings, name)))
                note(sent)
                return Outcome(f"{sent}: sent")
            change = schedules.pause if what == "pause" else schedules.resume
            job.run(_in_session(settings, lambda s: change(s, settings, name)))
            note(name)
        return Outcome(f"{name}: {'paused' if what == 'pause' else 'resumed'}")

    def count(job: Job) -> Seen:
        found = job.run(_in_session(settings, lambda s: schedules.states(s, settings, (queue,))))
        mine = next((each for each in found if each.name == name), None)
        due = ", ".join(map(moment, mine.next)) if mine is not None and mine.next else "at no time"
        return Seen(f"{SCHEDULE_ACTS[what]} {name}? Its state is {mine.state if mine else '?'}; next: {due}.")

    undo = {
        "run": f"One task of it goes to {queue}, beside its occurrences.",
        "pause": "It sends nothing until it is resumed. What comes due meanwhile is not made up for.",
        "resume": "It goes on with what comes after now.",
    }[what]
    return Order(f"{SCHEDULE_ACTS[what]}: {name}", what, queue, f"schedule {queue}", count, do, undo)


def _probe(settings: Settings, queue: str, ladder: str) -> Order:
    way = probing.walk(ladder, settings.rungs, _COUNTDOWN)

    def do(job: Job) -> Outcome:
        probed = job.run(_in_session(settings, lambda s: probing.probe(s, settings, way, _PATIENCE)))
        if probed.lateness is None:
            return Outcome(f"ladder {ladder}: not known", (probed.why or "",))
        return Outcome(f"ladder {ladder}: {probed.lateness:.2f} s late", (probed.why,) if probed.why else ())

    asked = f"Send a message of our own over ladder {ladder}, to see how late it is?"
    undo = "No task, no consumer and no receiver has a part in it. Looks at what waits wait until it is over."
    return Order(f"Probe {queue}", "probe", queue, f"ladder {ladder}", lambda _: Seen(asked), do, undo)


async def _in_session(settings: Settings, work: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
    async with connected(settings, name=NAME) as session:
        return await work(session)
