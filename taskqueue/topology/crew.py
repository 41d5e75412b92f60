"""Several connections at work on one list: what makes a thousand declarations a matter of seconds."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

Item = TypeVar("Item")
Result = TypeVar("Result")
Connect = Callable[[], BlockingConnection]
Progress = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and how much there is; from one thread at a time."""

CONNECTIONS = 4
_WORTH_A_CONNECTION = 20


class Hand:
    """One connection, used by one thread; what the broker refuses closes the channel, so it opens another."""

    def __init__(self, connection: BlockingConnection) -> None:
        self._connection = connection
        self._channel: BlockingChannel | None = None

    @property
    def channel(self) -> BlockingChannel:
        """An open channel."""
        if self._channel is None or not self._channel.is_open:
            self._channel = self._connection.channel()
        return self._channel


class Crew:
    """Works through lists with up to `connections` connections, opened for each list and closed after it."""

    def __init__(self, connect: Connect, progress: Progress, connections: int = CONNECTIONS) -> None:
        self._connect = connect
        self._progress = progress
        self._connections = connections

    def each(self, step: str, work: Callable[[Hand, Item], Result], items: Sequence[Item]) -> list[Result]:
        """Do `work` on every item and give the results in order; the first error ends it and is raised."""
        todo = deque(enumerate(items))
        done: dict[int, Result] = {}
        lock = threading.Lock()

        def share() -> None:
            connection = self._connect()
            try:
                hand = Hand(connection)
                while todo:
                    try:
                        place, item = todo.popleft()
                    except IndexError:
                        return
                    result = work(hand, item)
                    with lock:
                        done[place] = result
                        self._progress(step, len(done), len(items))
            finally:
                if connection.is_open:
                    connection.close()

        self._share_out(share, todo)
        return [done[place] for place in range(len(items))]

    def _share_out(self, share: Callable[[], None], todo: deque[tuple[int, Item]]) -> None:
        hands = min(self._connections, -(-len(todo) // _WORTH_A_CONNECTION))
        if hands == 0:
            return
        with ThreadPoolExecutor(hands, thread_name_prefix="taskqueue-declare") as pool:
            shares = [pool.submit(share) for _ in range(hands)]
            try:
                for each in shares:
                    each.result()
            finally:
                # After an error, or Ctrl-C, there is nothing left for the others to take.
                todo.clear()
