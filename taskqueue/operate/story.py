"""Where one task is, why it has not run and when it will, in words. Pure: `now` is an argument."""

from __future__ import annotations

from collections.abc import Iterator

from taskqueue.durations import duration
from taskqueue.operate.dead import DeadTask
from taskqueue.operate.finding import Found
from taskqueue.operate.overview import View
from taskqueue.operate.reasons import broken, some, stuck
from taskqueue.operate.waiting import WaitingTask

_SHOWN = 5
"""Queues of which it is told that they may have the task."""


def told(found: Found, view: View, now: float) -> Iterator[str]:
    """Say where a task was found, and what that means for it; `now` is in seconds since the epoch."""
    task = found.task
    if isinstance(task, DeadTask):
        yield from _dead(task, found.queue, now)
        return
    if found.place == "ready":
        yield f"it is ready in {found.queue}, and does not run as that is paused"
    else:
        yield from _waits(task, found.queue, now)
    if task.runs:
        times = "once" if task.runs == 1 else f"{task.runs} times"
        yield f"it ran {times}; the last try failed: {task.error or 'it does not say why'}"
    yield from _held_up(view, is_ready=found.place == "ready")


def nowhere(views: tuple[View, ...]) -> Iterator[str]:
    """Say what can be said of a task that was found in no place."""
    names = tuple(view.name for view in views)
    yield f"it does not wait, and is not dead, in {some(names)}"
    maybe = [view for view in views if _may_have_it(view)]
    for view in maybe[:_SHOWN]:
        yield f"it may be in {view.name}: {_number(view.state.ready, 'ready')}, {_running(view)}"
        yield from _held_up(view, is_ready=True)
    if len(maybe) > _SHOWN:
        yield f"or in one of {len(maybe) - _SHOWN:,} more queues in which tasks are ready or run"
    held = [line for view in views if (line := _may_be_held(view))]
    yield from held[:_SHOWN]
    # Without the management API nobody counts what is held, and nobody lists what exists.
    unlisted = any(view.ladder.held is None for view in views)
    if unlisted:
        yield "it may wait on a rung that the ini no longer names: only the management API lists those"
    first = "else" if maybe or held or unlisted else "nothing is ready or runs there:"
    yield f"{first} it is done, moved on while it was looked for, or was never sent"


def _may_have_it(view: View) -> bool:
    """Tell whether something is ready or runs, or nobody knows that nothing does."""
    state = view.state
    if f"queue {view.name}" in state.missing:
        return False
    runs = state.consumers != 0 if state.unacked is None else state.unacked > 0
    return state.ready != 0 or runs


def _may_be_held(view: View) -> str | None:
    """Say that the broker may have the task, though its wait is over."""
    held, count = view.ladder.held, f" (it holds {view.ladder.held:,})" if view.ladder.held else ""
    if held != 0 and view.state.cut_off(view.ladder):
        return (
            f"it may have come due: the broker holds that{count}, as queue {view.name} is missing: "
            "run `taskqueue declare`"
        )
    return f"the broker may hold it, though its wait is over{count}: it comes by itself" if held else None


def _waits(task: WaitingTask, queue: str, now: float) -> Iterator[str]:
    where = f"it waits in {queue}, on the rung {task.rung}"
    if task.due is None:
        yield f"{where}; when it is due its message does not say"
    elif task.due > now:
        yield f"{where}: it is due in {duration(task.due - now)}, and then runs as soon as its turn comes"
    else:
        yield (
            f"{where}, and was due {duration(now - task.due)} ago: the broker is about to hand it on, or it "
            "waits for its turn under a limit"
        )


def _dead(task: DeadTask, queue: str, now: float) -> Iterator[str]:
    since = "" if task.at is None else f" for {duration(now - task.at)}"
    tries = "1 attempt" if task.attempts == 1 else f"{task.attempts} attempts"
    yield f"it is dead in {queue}{since}: {task.reason}, after {tries}"
    if task.error:
        yield f"its last error: {task.error}"
    yield f"it does not run again by itself: `taskqueue dead replay {queue} --id {task.id}` has it run"


def _held_up(view: View, *, is_ready: bool) -> Iterator[str]:
    """Say what would keep a task from running now."""
    yield from broken(view)
    if view.pause is not None:
        yield f"{view.name} is paused: it runs after `taskqueue resume {view.name}`"
    elif view.state.consumers == 0:
        yield f"no consumer of {view.name} is there: start `taskqueue run`"
    elif is_ready and view.stuck:
        yield stuck(view)


def _number(count: int | None, what: str) -> str:
    return f"an unknown number {what}" if count is None else f"{count:,} {what}"


def _running(view: View) -> str:
    if view.state.unacked is None and view.flow is None:
        return "how many run is not known (set management_url)"
    return _number(view.state.unacked, "running")
