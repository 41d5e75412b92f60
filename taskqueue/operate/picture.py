"""What a look at the queues has found: what is wrong, and everything as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from taskqueue.operate import due
from taskqueue.operate.advanced import WITHIN
from taskqueue.operate.forecast import Forecast
from taskqueue.operate.inspect import LadderState, QueueState
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.pause import Pause
from taskqueue.operate.reading import moment
from taskqueue.operate.reasons import alarmed, is_late, late, reasons, some, stuck
from taskqueue.topology.names import lost

Sort = Literal["ini", "name", "ready", "waiting", "dead"]
SORTS: tuple[Sort, ...] = ("ini", "ready", "waiting", "dead", "name")


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look has found, and how many dead tasks a queue may have."""

    overview: Overview
    max_dead: int | None = None

    @property
    def failed(self) -> bool:
        """Whether something is missing, not known, or above its limit."""
        return (
            any(state.missing or state.unknown or state.looked for state in self._states())
            or any(not view.pause_known or self.too_many(view) for view in self.overview.views)
            or any(ladder.lost for ladder in self.overview.ladders.values())
        )

    def too_many(self, view: View) -> bool:
        """Tell whether a queue has more dead tasks than it may have."""
        return self.max_dead is not None and (view.state.dead or 0) > self.max_dead

    def problems(self) -> Iterator[str]:
        """Say what is wrong and what to do, a line each."""
        if self.overview.alarms:
            yield alarmed(self.overview.alarms)
        for state in self._states():
            if state.unknown:
                yield (
                    f"{state.name}: not known, {some(state.unknown)} did not answer: a leader is "
                    "overloaded or away, look again"
                )
            if state.looked:
                yield (
                    f"{state.name}: not known, somebody looks through {some(state.looked)} and holds "
                    "tasks of it: look again"
                )
            if state.missing and not state.absent:
                yield (
                    f"{state.name}: {len(state.missing)} missing ({some(state.missing)}): "
                    "run `taskqueue declare`"
                )
        if absent := tuple(dict.fromkeys(state.name for state in self._states() if state.absent)):
            yield f"not declared: {some(absent)} ({len(absent)}): run `taskqueue declare`"
        for view in self.overview.views:
            if view.pause is not None:
                yield f"{view.name}: {pause_line(view.pause)}"
            elif view.stuck:
                yield f"{view.name}: {stuck(view)}"
        yield from map(late, filter(is_late, self.overview.ladders.values()))
        yield from self.further()

    def further(self) -> Iterator[str]:
        """Say what the words on one queue leave out."""
        if self.overview.fault is not None:
            yield f"unacked and held are unknown: {self.overview.fault}"
        for view in self.overview.views:
            if not view.pause_known:
                yield f"{view.name}: the broker does not tell whether it is paused: look again"
            yield from held_back(view.state, view.ladder)
        yield from self._held()
        for ladder in self.overview.ladders.values():
            if ladder.lost:
                yield (
                    f"{ladder.name}: {ladder.lost} messages name no queue of this ladder; they are in "
                    f"{lost(ladder.name)}: declare their queue and publish them to it, or delete them"
                )
        for view in self.overview.views:
            if self.too_many(view):
                yield (
                    f"{view.name}: {view.state.dead} dead, over {self.max_dead}: "
                    f"see `taskqueue dead list {view.name}`"
                )

    def _held(self) -> Iterator[str]:
        read = self.overview.advanced
        lacks = f"; {some(read.without)} reads none" if read is not None and read.without else ""
        for name, ladder in self.overview.ladders.items():
            if ladder.held and not any(view.state.cut_off(ladder) for view in self.overview.views):
                yield (
                    f"{name}: {ladder.held:,} held by the broker, though their wait is over: it tries again "
                    f"{WITHIN}{lacks}; where they stay, see docs/operate.md, 'The broker is down'"
                )

    def document(self) -> dict[str, Any]:
        """Give everything for JSON; null where something is not known."""
        overview = self.overview
        return {
            "queues": [_queue(view) for view in overview.views],
            "alarms": None if overview.alarms is None else list(overview.alarms),
            "ladders": [
                {
                    "name": name,
                    **_numbers(ladder),
                    "lost": ladder.lost,
                    "lateness": _rounded(ladder.lateness),
                }
                for name, ladder in overview.ladders.items()
            ],
        }

    def _states(self) -> Iterator[QueueState | LadderState]:
        yield from (view.state for view in self.overview.views)
        yield from self.overview.ladders.values()


@dataclass(frozen=True, slots=True)
class Condition:
    """How it stands with a queue, in a word or two."""

    word: str = ""
    level: Literal["", "warn", "bad"] = ""


def condition(view: View) -> Condition:
    """Tell how it stands with a queue: what is worst; nothing where all is well."""
    state, ladder = view.state, view.ladder
    found: Sequence[tuple[object, Condition]] = (
        (state.unknown or ladder.unknown, Condition("silent", "bad")),
        (f"queue {view.name}" in state.missing, Condition("not declared", "bad")),
        (state.missing or ladder.missing, Condition("incomplete", "bad")),
        (view.pause, Condition("paused", "warn")),
        (view.stuck, Condition("none settled", "warn")),
        (state.consumers == 0 and not view.empty, Condition("no consumer", "warn")),
        (state.looked or ladder.looked, Condition("looked at", "warn")),
    )
    return next((each for holds, each in found if holds), Condition())


def held_back(queue: QueueState, ladder: LadderState) -> Iterator[str]:
    """Say what becomes of tasks that come due while there is no work queue for them, if that is so."""
    if not queue.cut_off(ladder):
        return
    known = "set management_url to see how many" if ladder.held is None else f"{ladder.held} by now"
    yield (
        f"{queue.name}: without its work queue the broker holds what comes due ({known}), in no other count; "
        f"after the next `taskqueue declare` it comes {WITHIN}"
    )


def pause_line(pause: Pause) -> str:
    """Say who has paused a queue, since when, until when, and why, as far as that is known."""
    words = ["paused"]
    if pause.by:
        words.append(f"by {pause.by}")
    if pause.since is not None:
        words.append(f"since {moment(pause.since)}")
    if pause.until is not None:
        words.append(f"until {moment(pause.until)}")
    told = " ".join(words)
    return f"{told}: {pause.reason}" if pause.reason else told


def _queue(view: View) -> dict[str, Any]:
    state, flow = view.state, view.flow
    return {
        "name": state.name,
        "declared": state.declared and not view.ladder.missing,
        "ready": state.ready,
        "unacked": state.unacked,
        **_numbers(view.own),
        "dead": state.dead,
        "paused": _pause(view),
        "consumers": state.consumers,
        "rates": {"in": flow.coming if flow else None, "out": flow.settled if flow else None},
        "lateness": _rounded(view.ladder.lateness),
        "forecast": _forecast(view.forecast()),
        "why": list(reasons(view)),
        "ladder": state.ladder,
        "missing": [*state.missing, *view.ladder.missing],
        "unknown": [*state.unknown, *state.looked, *view.ladder.unknown, *view.ladder.looked],
    }


def _pause(view: View) -> dict[str, Any] | bool | None:
    if view.pause is None:
        return False if view.pause_known else None
    pause = view.pause
    times = {"since": moment(pause.since), "until": moment(pause.until)}
    return {"by": pause.by, "reason": pause.reason, **times}


def _forecast(found: Forecast | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _numbers(ladder: LadderState | None) -> dict[str, Any]:
    return {
        "waiting": ladder.waiting if ladder else None,
        "due": due.document(ladder.due if ladder else None),
        "held": ladder.held if ladder else None,
    }


def _most(count: Callable[[View], int | None]) -> Callable[[View], float]:
    """Sort by a count: what is not known first, then the largest, and last what does not exist."""

    def place(view: View) -> float:
        found = count(view)
        if found is not None:
            return -found
        return 1 if view.state.missing else -math.inf

    return place


ORDERS: dict[Sort, Callable[[View], float | str]] = {
    "ini": lambda _: 0.0,
    "name": lambda view: view.name,
    "ready": _most(lambda view: view.state.ready),
    "waiting": _most(lambda view: view.waiting if view.own else 0),
    "dead": _most(lambda view: view.state.dead),
}
"""The order of queues in a table, by what it goes by."""
