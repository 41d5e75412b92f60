# ruff: noqa: INP001 run as a program: python docs/site/ladder.py >docs/ladder.svg
"""Draws the ladder of a queue as `declare` makes it, and the way of one task over it, as SVG."""

from __future__ import annotations

from html import escape

from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import QUORUM, Layout, plan

QUEUE, DELAY_MS = "mail", 25_300
WIDE, HIGH, GAP, LEFT, TOP = 74, 26, 46, 190, 92
ROOM, GREY, STRONG, INK = "#ffffff", "#d0d7de", "#0969da", "#1f2328"


def text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = INK, size: int = 12) -> str:
    """Write some words."""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{fill}" font-size="{size}">'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, words: str, *, strong: bool, wide: float = WIDE - 8) -> str:
    """Draw a queue."""
    fill, ink = (STRONG, ROOM) if strong else (ROOM, INK)
    label = text(x + wide / 2, y + 17, words, anchor="middle", fill=ink)
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{HIGH}" rx="4" fill="{fill}" '
        f'stroke="{STRONG if strong else GREY}"/>{label}'
    )


def arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """Draw a hop: down, across, down."""
    (x, y), (to_x, to_y) = start, end
    middle = to_y - 10
    return (
        f'<path d="M{x:g} {y:g}V{middle:g}H{to_x:g}V{to_y:g}" fill="none" stroke="{STRONG}" '
        'stroke-width="1.5" marker-end="url(#head)"/>'
    )


def picture() -> str:
    """Give the whole picture."""
    ladder = Ladder()
    there = {queue.name for queue in plan(Layout({QUEUE: QUEUE}, ladder, QUORUM)).queues}
    keys = ladder.itinerary(ladder.ticks(DELAY_MS), QUEUE)
    walked = [names.rung(QUEUE, ladder.ttl(leg)) for leg in ladder.legs(ladder.ticks(DELAY_MS))]
    bottom = TOP + ladder.levels * GAP
    parts, place = [], (LEFT - 9.0, TOP - 14.0)
    parts.append(box(LEFT - 30, TOP - 40, f"{QUEUE}.wait", strong=True, wide=140))
    told = f"countdown {DELAY_MS / 1000:g}, with the keys {'  '.join(keys)}"
    parts.append(text(LEFT + 124, TOP - 22, told))
    for row, level in enumerate(reversed(range(ladder.levels))):
        y = TOP + row * GAP
        parts.append(text(LEFT - 20, y + 17, f"{QUEUE}.wait.{ladder.unit(level)}", anchor="end"))
        for leg in (each for each in ladder.rungs() if each.level == level):
            name, x = names.rung(QUEUE, ladder.ttl(leg)), LEFT + (leg.digit - 1) * WIDE
            if name not in there:
                continue
            if name in walked:
                parts.append(arrow(place, (x + WIDE / 2 - 4, y)))
                place = (x + WIDE / 2 - 4, y + HIGH)
            parts.append(box(x, y, ladder.ttl(leg), strong=name in walked))
    parts.append(arrow(place, (LEFT + 40, bottom + 10)))
    parts.append(box(LEFT - 30, bottom + 10, QUEUE, strong=True, wide=140))
    parts.append(text(LEFT + 124, bottom + 28, "the work queue: due, a consumer makes the request"))
    wide, high = LEFT + 9 * WIDE + 10, bottom + 56
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" '
        f'font-family="ui-monospace, monospace" role="img" aria-label="{ladder.levels} levels of nine wait '
        f'queues each; a task waits in one queue of each level at most">'
        f'<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{STRONG}"/></marker></defs>'
        f'<rect width="{wide}" height="{high}" fill="{ROOM}"/>'
        + text(16, 26, "Each box is a queue whose messages all have that TTL; each row has an exchange.")
        + "\n".join(parts)
        + "</svg>\n"
    )


if __name__ == "__main__":
    print(picture(), end="")  # noqa: T201
