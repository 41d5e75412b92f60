"""Why tasks of a queue do not run, in words. Pure: it says what counts prove, and never more."""

from __future__ import annotations

import math
from collections.abc import Iterator

from taskqueue.broker.management import WINDOW
from taskqueue.durations import duration
from taskqueue.operate.inspect import LadderState
from taskqueue.operate.overview import View

_SHOWN = 3
_FEW = 2
_BEHIND = 60.0
"""Seconds of a rate that are ready from which on it is told that the rate holds them back."""
_LATE = 2.0
"""Seconds from which on the lateness of a ladder is told."""


def reasons(view: View) -> Iterator[str]:
    """Say why nothing of a queue runs, or what is amiss with it; nothing where all is well."""
    state = view.state
    yield from broken(view)
    if state.ready is None:
        return
    if view.pause is not None:
        yield f"it is paused: what comes due gathers until `taskqueue resume {view.name}`"
    elif state.consumers == 0:
        yield "no consumer is there: start `taskqueue run`"
    elif view.stuck and view.flow is not None:
        yield stuck(view)
    elif not_taken(view):
        yield (
            f"consumers are there and took none of the {state.ready:,} that are ready in {WINDOW} s: they "
            "stop, or stand still: look at their log"
        )
    elif (rate := view.settings.rate) and state.ready / rate.per_second > _BEHIND:
        yield (
            f"its rate holds back the {state.ready:,} that are ready: the last of them begins in "
            f"{duration(state.ready / rate.per_second)} at the earliest"
        )
    yield from _idle(view)


def broken(view: View) -> Iterator[str]:
    """Say what keeps a queue from working at all."""
    state, ladder = view.state, view.ladder
    missing = (*state.missing, *ladder.missing)
    if state.absent and ladder.absent:
        yield "nothing of it is declared: run `taskqueue declare`"
    elif missing:
        yield f"{some(missing)} missing: run `taskqueue declare`"
    for silent in dict.fromkeys((*state.unknown, *ladder.unknown)):
        yield f"the leader of {silent} is silent: overloaded or away, look again"
    for held in dict.fromkeys((*state.looked, *ladder.looked)):
        yield f"somebody looks through {held} and holds tasks of it: look again"
    if view.alarms:
        yield alarmed(view.alarms)
    if is_late(ladder):
        yield late(ladder)
    if ladder.held and f"queue {view.name}" not in state.missing:
        yield f"held by the broker, though the wait is over: {ladder.held:,}"


def is_late(ladder: LadderState) -> bool:
    """Tell whether a ladder does not hand on in time, as far as a probe has seen it."""
    return ladder.lateness is not None and ladder.lateness >= _LATE


def late(ladder: LadderState) -> str:
    """Say that a ladder itself is late, whatever its consumers do."""
    return (
        f"ladder {ladder.name} is {duration(ladder.lateness or 0.0)} late, as the probe saw it: the broker "
        "does not hand on in time what is due"
    )


def alarmed(alarms: tuple[str, ...]) -> str:
    """Say what an alarm of the broker means."""
    return (
        f"{some(alarms)}: the broker takes no publishes, so nothing is sent, and retries, dead tasks and "
        "roll_backs are held; nothing is lost: make room, see `rabbitmq-diagnostics alarms`"
    )


def not_taken(view: View) -> bool:
    """Tell whether tasks were ready, and consumers there, and none was handed out."""
    flow, rate = view.flow, view.settings.rate
    if rate is not None and rate.per_second * WINDOW < _FEW:
        # None may have been due.
        return False
    idle = flow is not None and flow.ready > 0 and not flow.unacked and flow.handed_out == 0
    return idle and bool(view.state.ready) and bool(view.state.consumers)


def stuck(view: View) -> str:
    """Say that what consumers have does not come to an end."""
    out = view.flow.unacked if view.flow else 0
    return (
        f"{out:,} are at consumers for over {WINDOW} s and none is settled: the receiver takes so long "
        f"(timeout is {duration(view.settings.timeout)}), or a consumer stands still"
    )


def _idle(view: View) -> Iterator[str]:
    """Say what there is to run where nothing is ready."""
    state = view.state
    if state.ready or state.unacked or view.state.missing:
        return
    shared = view.own is None
    waiting, due = view.ladder.waiting, view.ladder.due
    if waiting is None or due is None:
        return
    if not waiting:
        yield "nothing is ready, and nothing waits"
        return
    who = (
        f"{waiting:,} wait on ladder {view.ladder.name}, which others share"
        if shared
        else f"{waiting:,} wait"
    )
    first = next((span.within for span in due.spans if span.count), math.inf)
    when = "at a time that counts do not tell" if math.isinf(first) else f"in {duration(first)} at the latest"
    yield f"nothing is ready: {who}; the next is due {when}"


def some(things: tuple[str, ...]) -> str:
    """Write the first few of what was found, and how many more there are."""
    more = f" and {len(things) - _SHOWN:,} more" if len(things) > _SHOWN else ""
    return f"{', '.join(things[:_SHOWN])}{more}"
