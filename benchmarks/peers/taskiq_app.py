"""taskiq: its aio-pika broker with quorum queues, acks after the run, and one aiohttp session a process."""

from __future__ import annotations

import asyncio
import os

import aiohttp
from taskiq import TaskiqEvents, TaskiqState
from taskiq_aio_pika import AioPikaBroker, Queue

from benchmarks.peers.sending import tasks

WINDOW = 500
broker = AioPikaBroker(os.environ["BENCHMARK_BROKER"], qos=int(os.environ["BENCHMARK_PREFETCH"])).with_queue(
    Queue(name=os.environ.get("BENCHMARK_QUEUE", "taskiq"))
)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def _start(state: TaskiqState) -> None:
    state.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def _stop(state: TaskiqState) -> None:
    await state.session.close()


@broker.task(task_name="post")
async def post(url: str) -> None:
    """Make the request, and fail where it is not answered with success."""
    headers = {"Content-Type": "application/json"}
    async with broker.state.session.post(url, data=b"{}", headers=headers) as answer:
        await answer.read()
        answer.raise_for_status()


async def send() -> None:
    """Publish with confirms, many of them on their way at once."""
    await broker.startup()
    waiting: set[asyncio.Task[object]] = set()
    for url, _delay in tasks():
        waiting.add(asyncio.create_task(post.kiq(url)))
        if len(waiting) == WINDOW:
            await asyncio.gather(*waiting)
            waiting.clear()
    await asyncio.gather(*waiting)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(send())
