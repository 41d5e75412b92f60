"""The live screen of `taskqueue inspect --watch`: keys, resizes, a broker that is away."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.live import Live
from rich.segment import Segment, SegmentLines
from rich.text import Text

from taskqueue.broker.management import Management
from taskqueue.broker.session import connected
from taskqueue.cli import console, insight, keys, queues, streams, tables
from taskqueue.errors import BrokerRefused, BrokerUnreachable, NotKnown
from taskqueue.operate.overview import look
from taskqueue.operate.picture import SORTS, Picture, Sort
from taskqueue.settings import Settings

_NAME = "taskqueue inspect"
_KEYS = "q quit   j k scroll"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PROBLEMS = 3
"""A third of the screen at most is for what is wrong."""
_ROOM = 3
"""The lines that are always there: the time, the heads of the columns, the keys."""


@dataclass(slots=True)
class Screen:
    """What is shown, and from which line on."""

    one: bool
    """Whether one queue was asked for, which is told in words."""
    sort: Sort = "ini"
    every: bool = False
    offset: int = 0
    picture: Picture | None = None
    away: str | None = None
    """Why the broker does not answer."""
    _last: int = field(default=0, init=False)
    _page: int = field(default=1, init=False)

    def press(self, key: str) -> bool:
        """Heed a key; False where that is to end."""
        moves = {
            "down": 1, "j": 1, "up": -1, "k": -1, "page down": self._page, " ": self._page,
            "page up": -self._page, "home": -self._last, "g": -self._last, "end": self._last, "G": self._last,
        }  # fmt: skip
        if key == "s":
            self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
        elif key == "a":
            self.every = not self.every
        self.offset = max(0, min(self._last, self.offset + moves.get(key, 0)))
        return key not in {"q", "Q", "\x03", "\x04"}

    def plain(self) -> RenderableType:
        """Give everything, for what is no terminal."""
        parts: list[RenderableType] = [_stamp(self.picture)]
        if self.picture is not None:
            parts += self._content(self.picture, console.out.width)
            parts += [Text(each, "yellow") for each in self._problems(self.picture)]
        if self.away:
            parts.append(Text(f"{self.away}; trying again", "red"))
        return Group(*parts)

    def frame(self) -> RenderableType:
        """Give as many lines as the terminal has, each as long as it is wide at most."""
        width, height = console.out.size
        picture = self.picture
        head = [_stamp(picture)]
        content = _lines(self._content(picture, width) if picture else [Text("looking …", "dim")], width)
        pinned = 0 if self.one or picture is None else 1
        wrong = [Text(f"{self.away}; trying again", "red")] if self.away else []
        wrong += [Text(each, "yellow") for each in self._problems(picture)] if picture else []
        foot = _lines(wrong, width)
        most = max(1, height // _PROBLEMS)
        if len(foot) > most:
            more = Text(f"and {len(foot) - most + 1} more lines: see `taskqueue inspect`", "yellow")
            foot = foot[: most - 1] + _lines([more], width)
        self._page = max(1, height - _ROOM - len(foot))
        self._last = max(0, len(content) - pinned - self._page)
        self.offset = min(self.offset, self._last)
        start = pinned + self.offset
        body = content[:pinned] + content[start : start + self._page + (1 - pinned)]
        blank: list[list[Segment]] = [[]] * max(0, height - 2 - len(body) - len(foot))
        every = [*_lines(head, width)[:1], *body, *blank, *foot, *_lines([self._keys()], width)[:1]]
        return SegmentLines(every[:height], new_lines=True)

    def _content(self, picture: Picture, width: int) -> list[RenderableType]:
        if self.one:
            return [
                line
                for view in picture.overview.views
                for line in insight.lines(view, picture.overview.at, width)
            ]
        found = queues.rows(picture, sort=self.sort, every=self.every)
        note = found.note()
        return [queues.table(found.lines, width), *([Text(note, "dim")] if note else [])]

    def _problems(self, picture: Picture) -> Iterator[str]:
        return picture.further() if self.one else picture.problems()

    def _keys(self) -> Text:
        place = f"   from line {self.offset + 1}, {self._last - self.offset} more below" if self._last else ""
        choice = "" if self.one else f"   s sorted by {self.sort}   a {'all' if self.every else 'not empty'}"
        return Text(f"{_KEYS}{choice}{place}", "dim")


def _lines(parts: Iterable[RenderableType], width: int) -> list[list[Segment]]:
    options = console.out.options.update(width=width, height=None)
    return [line for part in parts for line in console.out.render_lines(part, options, pad=False)]


def _stamp(picture: Picture | None) -> Text:
    at = time.time() if picture is None else picture.overview.at
    return Text(f"{tables.moment(at)}", "dim")


async def watch(settings: Settings, screen: Screen, *, interval: float, max_dead: int | None) -> None:
    """Look every `interval` seconds until a key or a signal ends it."""
    events = _Events()
    looking = asyncio.create_task(_look(settings, screen, events.changed.set, interval, max_dead))
    looking.add_done_callback(lambda _: events.end())
    try:
        with _signals(events):
            while not events.ended:
                with _shown(screen) as draw, _keyboard(screen, events):
                    await _draw(events, draw)
                if events.stopped and not events.ended:
                    events.stopped = False
                    os.kill(os.getpid(), signal.SIGSTOP)
                    events.changed.set()
        if looking.done():
            looking.result()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


@dataclass(slots=True)
class _Events:
    """What has happened since the last picture."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    stopped: bool = False
    """By Ctrl-Z: the terminal is given back for as long."""

    def end(self) -> None:
        self.ended = True
        self.changed.set()

    def stop(self) -> None:
        self.stopped = True
        self.changed.set()


async def _draw(events: _Events, draw: Callable[[], None]) -> None:
    """Draw whenever something has changed, until it ends or is stopped."""
    while True:
        await events.changed.wait()
        events.changed.clear()
        if events.ended or events.stopped:
            return
        draw()
        if not streams.read():
            events.end()
            return


async def _look(
    settings: Settings, screen: Screen, changed: Callable[[], None], interval: float, max_dead: int | None
) -> None:
    """Look again and again. Where the broker is away, say so and wait for it."""
    management = Management(settings)
    while True:
        try:
            async with connected(settings, name=_NAME) as session:
                while True:
                    management.fault = None
                    screen.picture = Picture(await look(session, settings, management), max_dead)
                    screen.away = None
                    changed()
                    await asyncio.sleep(interval)
        except (BrokerUnreachable, BrokerRefused, NotKnown) as error:
            screen.away = str(error)
            changed()
            await asyncio.sleep(interval)


@contextmanager
def _shown(screen: Screen) -> Iterator[Callable[[], None]]:
    """Give what shows the screen: in place of the last on a terminal, below it in a pipe."""
    if not console.out.is_terminal:
        yield lambda: console.out.print(screen.plain())
        return
    with Live(screen.frame(), console=console.out, screen=True, auto_refresh=False) as live:
        yield lambda: live.update(screen.frame(), refresh=True)


@contextmanager
def _keyboard(screen: Screen, events: _Events) -> Iterator[None]:
    if not console.out.is_terminal:
        yield
        return
    loop = asyncio.get_running_loop()
    with keys.pressed() as descriptor:
        if descriptor is None:
            yield
            return

        def ready() -> None:
            try:
                pressed = keys.read(descriptor)
            except EOFError:
                events.end()
                return
            for key in pressed:
                if not screen.press(key):
                    events.end()
            events.changed.set()

        loop.add_reader(descriptor, ready)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)


@contextmanager
def _signals(events: _Events) -> Iterator[None]:
    """End where somebody wants that, so that the terminal is left as it was; draw anew in another size."""
    loop = asyncio.get_running_loop()
    handlers = [(signal.SIGWINCH, events.changed.set)]
    if console.out.is_terminal:
        handlers.append((signal.SIGTSTP, events.stop))
    # What is ignored, as under nohup, stays so.
    handlers += [(each, events.end) for each in _ENDING if signal.getsignal(each) is not signal.SIG_IGN]
    for number, handler in handlers:
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number, _ in handlers:
            loop.remove_signal_handler(number)
