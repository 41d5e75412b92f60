"""The command `taskqueue`, killed in the middle: ``python -m tests.support.killed STEP ARGUMENT…``.

It kills itself before the step of that number. A step is a change of the broker in which a queue for
schedules or limits has a part; what came before has been answered, or is confirmed. Or it kills itself at a
stage of the migration of a queue: ``parking:QUEUE`` and others of `STAGES`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from itertools import count
from typing import Any

from taskqueue.__main__ import main
from taskqueue.broker.asking import Channel

STAGES = ("parking", "parked", "deleted", "putting_back")
"""Some tasks are put aside; all are; the former queue is gone; some tasks are in the new one."""
SOME = 150
_OURS = (".schedule", ".limit")


def arm(last: int) -> None:
    """Have this process end before its step number `last`."""
    steps = count(1)

    def step(about: object, *, passive: bool = False) -> None:
        if any(each in str(about) for each in _OURS) and not passive and next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    ask, publish, ack = Channel.ask, Channel.publish, Channel.ack

    async def asking(self: Channel, method: str, *given: Any, **named: Any) -> Any:
        step(given, passive=bool(named.get("passive")))
        return await ask(self, method, *given, **named)

    def publishing(self: Channel, what: Any) -> Any:
        step(what)
        return publish(self, what)

    def acking(self: Channel, delivery: Any) -> None:
        step(_OURS)
        ack(self, delivery)

    for name, instead in {"ask": asking, "publish": publishing, "ack": acking}.items():
        setattr(Channel, name, instead)


def arm_migration(stage: str, queue: str) -> None:
    """Have this process end at a stage of the migration of a queue."""
    acked: Counter[str] = Counter()
    now = "putting_back"

    def come(to: str) -> None:
        if to == stage:
            os.kill(os.getpid(), signal.SIGKILL)

    ask, publish, ack = Channel.ask, Channel.publish, Channel.ack

    async def asking(self: Channel, method: str, *given: Any, **named: Any) -> Any:
        deletes = method == "queue_delete" and given == (queue,)
        if deletes:
            come("parked")
        answer = await ask(self, method, *given, **named)
        if deletes:
            come("deleted")
        return answer

    def publishing(self: Channel, what: Any) -> Any:
        nonlocal now
        now = "parking" if what.exchange == f"{queue}.moving" else "putting_back"
        return publish(self, what)

    def acking(self: Channel, delivery: Any) -> None:
        ack(self, delivery)
        acked[now] += 1
        if acked[now] > SOME:
            come(now)

    for name, instead in {"ask": asking, "publish": publishing, "ack": acking}.items():
        setattr(Channel, name, instead)


if __name__ == "__main__":
    first, _, named = sys.argv.pop(1).partition(":")
    if named:
        arm_migration(first, named)
    else:
        arm(int(first))
    main()
