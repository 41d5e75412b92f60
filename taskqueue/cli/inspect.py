"""`taskqueue inspect`: how many tasks are where."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from taskqueue.broker.absence import absent
from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import common, console, streams, tables
from taskqueue.errors import BrokerRefused, BrokerUnreachable, ConfigError, NotKnown
from taskqueue.operate.inspect import LadderState, QueueState, states
from taskqueue.settings import Settings, load
from taskqueue.topology.names import dead, lost
from taskqueue.topology.plan import plan

commands = common.commands()
_NAME = "taskqueue inspect"
_SHOWN = 3
_NUMBERS = ("ready", "unacked", "waiting", "≤ 1 min", "≤ 1 h", "later", "held", "dead", "consumers")


@commands.command()
def inspect(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only these queues.", show_default=False)
    ] = None,
    *,
    max_dead: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Exit with 1 where a queue has more dead tasks.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it live until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to look.")] = 2.0,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Show what is ready, running, waiting and dead; exits with 1 where something is missing or unknown.

    Waiting tasks are due within a minute, within an hour, or later: the wait queue that holds them tells.
    A question mark stands for a queue whose leader does not answer. A task is held when its stay in a wait
    queue is over and the broker has not handed it on: always for a moment, for up to 3 minutes after the
    broker was down. Unacked and held need management_url.
    """
    if watch and as_json:
        raise ConfigError("--watch and --json: choose one of them")
    settings = common.only(load(config), names)
    if watch:
        with suppress(KeyboardInterrupt):
            run(_watch(settings, interval, max_dead))
        return
    management = Management(settings)

    async def work() -> Picture:
        async with connected(settings, name=_NAME) as session:
            return await _picture(session, settings, management, max_dead)

    picture = run(work())
    if as_json:
        common.emit(picture.document())
    else:
        tables.show(picture.table())
    for problem in picture.problems():
        common.say(problem, "yellow")
    if picture.failed:
        raise typer.Exit(common.FAILED)


@dataclass(frozen=True, slots=True)
class Picture:
    """What one look has found."""

    queues: tuple[QueueState, ...]
    ladders: dict[str, LadderState]
    fault: str | None
    alarms: tuple[str, ...] | None
    """Alarms of the broker; None where they are not known."""
    max_dead: int | None

    @property
    def failed(self) -> bool:
        """Whether something is missing, not known, or above its limit."""
        states: tuple[QueueState | LadderState, ...] = (*self.queues, *self.ladders.values())
        return (
            any(state.missing or state.unknown for state in states)
            or any(self.too_many(state) for state in self.queues)
            or any(state.lost for state in self.ladders.values())
        )

    def too_many(self, state: QueueState) -> bool:
        """Tell whether a queue has more dead tasks than it may have."""
        return self.max_dead is not None and (state.dead or 0) > self.max_dead

    def problems(self) -> Iterator[str]:
        """Say what is wrong and what to do, a line each."""
        yield from self._of_broker()
        states: tuple[QueueState | LadderState, ...] = (*self.queues, *self.ladders.values())
        for state in states:
            if state.unknown:
                yield (
                    f"{state.name}: not known, {_some(state.unknown)} did not answer: a leader is "
                    "overloaded or away, look again"
                )
            if state.missing and not state.absent:
                yield (
                    f"{state.name}: {len(state.missing)} missing ({_some(state.missing)}): "
                    "run `taskqueue declare`"
                )
        if absent := tuple(dict.fromkeys(state.name for state in states if state.absent)):
            yield f"not declared: {_some(absent)} ({len(absent)}): run `taskqueue declare`"
        for queue in self.queues:
            yield from held_back(queue, self._of(queue))
        for ladder in self.ladders.values():
            if ladder.lost:
                yield (
                    f"{ladder.name}: {ladder.lost} messages name no queue of this ladder; they are in "
                    f"{lost(ladder.name)}: declare their queue and publish them to it, or delete them"
                )
        for queue in self.queues:
            if self.too_many(queue):
                yield (
                    f"{queue.name}: {queue.dead} dead, over {self.max_dead}: "
                    f"see `taskqueue dead list {queue.name}`"
                )

    def _of_broker(self) -> Iterator[str]:
        if self.fault is not None:
            yield f"unacked and held are unknown: {self.fault}"
        if self.alarms:
            yield (
                f"{_some(self.alarms)}: the broker takes no publishes, so nothing is sent, and retries, dead "
                "tasks and roll_backs are held; nothing is lost: make room, see `rabbitmq-diagnostics alarms`"
            )

    def table(self) -> Table:
        """Make a row for each queue with a ladder of its own, and for each shared ladder."""
        table = tables.table("queue", *_NUMBERS, right=_NUMBERS)
        for state in self.queues:
            ladder = self.ladders[state.ladder] if state.ladder == state.name else None
            table.add_row(
                tables.cell(state.name, "" if state.declared else "red"),
                tables.count(state.ready, known=state.name not in state.unknown),
                tables.cell(state.unacked),
                *_waiting(ladder),
                tables.count(
                    state.dead,
                    style="red" if self.too_many(state) else "",
                    known=dead(state.name) not in state.unknown,
                ),
                tables.count(state.consumers, known=state.name not in state.unknown),
            )
        for name, ladder in self.ladders.items():
            if all(state.name != name for state in self.queues):
                nothing = tables.cell("")
                table.add_row(
                    tables.cell(f"ladder {name}"), nothing, nothing, *_waiting(ladder), nothing, nothing
                )
        return table

    def document(self) -> dict[str, Any]:
        """Give everything for JSON; null where something is not known."""
        return {
            "queues": [
                {
                    "name": state.name,
                    "declared": state.declared and not self._of(state).missing,
                    "ready": state.ready,
                    "unacked": state.unacked,
                    **_numbers(self._of(state) if state.ladder == state.name else None),
                    "dead": state.dead,
                    "consumers": state.consumers,
                    "ladder": state.ladder,
                    "missing": [*state.missing, *self._of(state).missing],
                    "unknown": [*state.unknown, *self._of(state).unknown],
                }
                for state in self.queues
            ],
            "alarms": None if self.alarms is None else list(self.alarms),
            "ladders": [
                {"name": name, **_numbers(ladder), "lost": ladder.lost}
                for name, ladder in self.ladders.items()
            ],
        }

    def _of(self, state: QueueState) -> LadderState:
        return self.ladders[state.ladder]


def held_back(queue: QueueState, ladder: LadderState) -> Iterator[str]:
    """Say what becomes of tasks that come due while there is no work queue for them, if that is so."""
    if not queue.cut_off(ladder):
        return
    known = "set management_url to see how many" if ladder.held is None else f"{ladder.held} by now"
    yield (
        f"{queue.name}: without its work queue the broker holds what comes due ({known}), in no other count; "
        "it comes within 3 minutes of the next `taskqueue declare` (5 s with deploy/advanced.config)"
    )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _numbers(ladder: LadderState | None) -> dict[str, Any]:
    due = ladder.due if ladder else None
    return {
        "waiting": ladder.waiting if ladder else None,
        "due": asdict(due) if due else {"minute": None, "hour": None, "later": None},
        "held": ladder.held if ladder else None,
    }


def _waiting(ladder: LadderState | None) -> Iterator[Text]:
    if ladder is None:
        yield from (tables.cell(None) for _ in range(5))
        return
    due = ladder.due
    for each in (ladder.waiting, *((due.minute, due.hour, due.later) if due else (None,) * 3)):
        yield tables.count(each, known=due is None or each is not None)
    yield tables.cell(ladder.held)


async def _picture(
    session: Session, settings: Settings, management: Management, max_dead: int | None
) -> Picture:
    counts = await asyncio.to_thread(management.counts)
    listed = await asyncio.to_thread(management.listed)
    gone = await absent(session, plan(settings.layout), listed)
    queues, ladders = await states(session, settings, settings.queues.values(), counts, gone)
    alarms = await asyncio.to_thread(management.alarms)
    return Picture(queues, {each.name: each for each in ladders}, management.fault, alarms, max_dead)


async def _watch(settings: Settings, interval: float, max_dead: int | None) -> None:
    """Look again and again. Where the broker is away, say so and wait for it."""
    management = Management(settings)
    shown: RenderableType = ""
    with _screen() as show:
        while True:
            try:
                async with connected(settings, name=_NAME) as session:
                    while True:
                        management.fault = None
                        picture = await _picture(session, settings, management, max_dead)
                        problems = [Text(each, "yellow") for each in picture.problems()]
                        shown = Group(_stamp(), picture.table(), *problems)
                        show(shown)
                        if not streams.read():
                            return
                        await asyncio.sleep(interval)
            except (BrokerUnreachable, BrokerRefused, NotKnown) as error:
                show(Group(shown, Text(f"\n{error}; trying again", "red")))
                await asyncio.sleep(interval)


@contextmanager
def _screen() -> Iterator[Callable[[RenderableType], None]]:
    """Give what shows the next picture: in place of the last on a terminal, below it in a pipe."""
    if not console.out.is_terminal:
        yield console.out.print
        return
    with Live(console=console.out, screen=True, auto_refresh=False) as live:
        yield lambda picture: live.update(picture, refresh=True)


def _stamp() -> Text:
    return Text(f"{tables.moment(time.time())}   Ctrl-C ends\n", "dim")
