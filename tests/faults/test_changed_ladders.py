"""`resolution` and `levels` change by plain declares, while tasks wait, run and come by every ini."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue.send.client import Client
from tests.support.command import ran
from tests.support.stage import Process

INIS = ((0.1, 8), (1, 8), (0.01, 8), (0.1, 4), (0.1, 8))
"""Resolution and levels of each ini, in the order in which they are declared."""
TASKS = int(os.environ.get("TASKQUEUE_SOAK_LADDER_TASKS", "20000"))
SECONDS = 60.0
"""Over which tasks are sent; each is due 0 to `LONGEST` seconds after that."""
LONGEST = 40.0
LATE = 30.0
"""Seconds that a task may be late on a busy machine; a rung that is jammed has it wait for ever."""


@pytest.mark.soak
def test_no_change_of_the_ladder_loses_a_task_or_has_one_run_early_or_twice(
    private_broker: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    """20,000 tasks, five inis, senders of each and of none, consumers of each: each runs once, in time."""
    configs = [_write(tmp_path / f"{n}.ini", private_broker, receiver, ini) for n, ini in enumerate(INIS)]
    ran(configs[0], "declare")
    consumers = [_consumer(configs[0])]
    due: dict[str, float] = {}
    clients = [Client.from_config(configs[0]), Client(private_broker.url)]
    senders = [threading.Thread(target=_send, args=(clients, due, part)) for part in range(2)]
    try:
        for sender in senders:
            sender.start()
        for config in configs[1:]:
            time.sleep(SECONDS / len(configs))
            ran(config, "declare")
            consumers.append(_consumer(config))
            clients.append(Client.from_config(config))
        for sender in senders:
            sender.join()
        requests = receiver.wait_for(len(due), timeout=LONGEST + 120)
    finally:
        for consumer in consumers:
            consumer.stop()
        for client in clients:
            client.close()
    runs = Counter(request.headers["Taskqueue-Id"] for request in requests)
    late = [request.at - due[request.headers["Taskqueue-Id"]] for request in requests]
    assert len(due) == TASKS
    assert set(runs) == set(due)
    assert {task: count for task, count in runs.items() if count > 1} == {}
    assert min(late) >= 0
    assert max(late) < LATE


def _write(path: Path, broker: Broker, receiver: Receiver, ini: tuple[float, int]) -> Path:
    resolution, levels = ini
    path.write_text(
        f"server = {broker.url}\nresolution = {resolution}\nlevels = {levels}\n"
        f"[mail]\nbase_url = {receiver.url}\nconcurrency = 8\n"
    )
    return path


def _consumer(config: Path) -> Process:
    process = Process("run", "--config", str(config))
    process.wait_for("consuming from mail")
    return process


def _send(clients: list[Client], due: dict[str, float], part: int) -> None:
    """Send half of the tasks in batches, each with another of the clients that there are by then."""
    chance, batch = random.Random(part), 100
    for number in range(TASKS // 2 // batch):
        now = time.time()
        tasks = [
            {
                "url": "/",
                "queue": "mail",
                "id": f"{part}-{number}-{n}",
                "eta": now + chance.uniform(0, LONGEST),
            }
            for n in range(batch)
        ]
        due.update((str(task["id"]), float(str(task["eta"]))) for task in tasks)
        clients[number % len(clients)].send_many(tasks)
        time.sleep(SECONDS / (TASKS / 2 / batch))
