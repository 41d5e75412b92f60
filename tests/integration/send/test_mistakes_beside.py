"""One caller's mistake in a `Client` that many threads share: nobody else's send is copied or lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from taskqueue import BrokerRefused, Client, InvalidTask, NotDeclared, TaskqueueError
from tests.support.admin import Admin
from tests.support.stage import PATIENCE, Stage

THREADS, SENDS = 2, 150
MISTAKES: dict[str, tuple[Callable[[Client, str], object], type[TaskqueueError]]] = {
    "a queue that is not declared, with a countdown": (
        lambda client, _: client.send("/x", "nowhere", countdown=5),
        NotDeclared,
    ),
    "a queue that is not declared": (lambda client, _: client.send("/x", "nowhere"), NotDeclared),
    "another one each time": (
        lambda client, _: client.send("/x", f"nowhere-{threading.get_ident()}-{id(object())}", countdown=3),
        NotDeclared,
    ),
    "headers that no frame holds": (
        lambda client, queue: client.send("/x", queue, headers={"pad": "x" * 200_000}),
        TaskqueueError,
    ),
    "headers that can't be written": (
        lambda client, queue: client.send("/x", queue, headers={"pad": object()}),
        TaskqueueError,
    ),
    "what is no task": (lambda client, queue: client.send("/x", queue, countdown=-1), InvalidTask),
    "a queue of others": (lambda client, _: client.send("/x", "theirs", countdown=5), BrokerRefused),
}


def took(
    client: Client, queue: str, mistake: Callable[[], object] | None, error: type[TaskqueueError]
) -> int:
    """Send from several threads, with a mistake made in a loop beside them; give how often it was made."""
    failures: list[BaseException] = []
    done = threading.Event()
    made = 0

    def work(number: int) -> None:
        try:
            for n in range(SENDS):
                client.send("/x", queue, id=f"{number}-{n}", countdown=60 if n % 2 else None)
        except TaskqueueError as failed:
            failures.append(failed)

    def blunder() -> None:
        nonlocal made
        while mistake is not None and not done.is_set():
            try:
                mistake()
            except error:
                made += 1
            except TaskqueueError as failed:
                failures.append(failed)
                return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    beside = threading.Thread(target=blunder)
    for thread in (*threads, beside):
        thread.start()
    for thread in threads:
        thread.join(2 * PATIENCE)
    done.set()
    beside.join(PATIENCE)
    assert failures == []
    return made


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_costs_nobody_else_a_copy(admin: Admin, staged: Callable[..., Stage], mistake: str) -> None:
    """Every good send is there exactly once: as many messages as were sent, and each id once."""
    act, error = MISTAKES[mistake]
    stage = staged(server=admin.url)
    url = admin.user(".*", "^(?!theirs).*$", ".*")
    assert urlsplit(url).username
    with stage.connection() as connection:
        connection.channel().exchange_declare("theirs.wait", "direct")
    with Client(url, timeout=PATIENCE) as client:
        made = took(client, stage.name, lambda: act(client, stage.name), error)
    assert made > 0
    half = THREADS * SENDS // 2
    assert (stage.depth(), stage.waiting()) == (half, half)
    seen: list[str] = []
    with stage.connection() as connection:
        channel = connection.channel()
        for _ in range(half):
            _, properties, _ = channel.basic_get(stage.name, auto_ack=True)
            assert properties is not None
            seen.append(str(properties.message_id))
    assert sorted(seen) == sorted(f"{number}-{n}" for number in range(THREADS) for n in range(0, SENDS, 2))
