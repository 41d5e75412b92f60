"""What one writes by hand: aio-pika, aiohttp, uvloop; a success is acked, all else goes back to the queue."""

from __future__ import annotations

import asyncio
import os
import sys

import aio_pika
import aiohttp
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from benchmarks.peers.sending import tasks

QUEUE = os.environ.get("BENCHMARK_QUEUE", "asyncio")
WINDOW = 500


async def consume(at_once: int) -> None:
    """Make the requests of this process, `at_once` at a time, until it is ended."""
    connection = await aio_pika.connect_robust(os.environ["BENCHMARK_BROKER"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=at_once * 2 + 10)
    queue = await _declared(channel)
    turn = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once)) as session:

        async def run(message: AbstractIncomingMessage) -> None:
            async with turn, message.process(requeue=True):
                headers = {"Content-Type": "application/json"}
                async with session.post(message.body.decode(), data=b"{}", headers=headers) as answer:
                    await answer.read()
                    answer.raise_for_status()

        await queue.consume(run)
        await asyncio.Event().wait()


async def send() -> None:
    """Publish with confirms, many of them on their way at once."""
    connection = await aio_pika.connect_robust(os.environ["BENCHMARK_BROKER"])
    async with connection:
        channel = await connection.channel()
        await _declared(channel)
        waiting: set[asyncio.Task[object]] = set()
        for url, _delay in tasks():
            message = aio_pika.Message(url.encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
            waiting.add(asyncio.create_task(channel.default_exchange.publish(message, QUEUE)))
            if len(waiting) == WINDOW:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)


async def _declared(channel: aio_pika.abc.AbstractChannel) -> aio_pika.abc.AbstractQueue:
    return await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})


if __name__ == "__main__":
    uvloop.run(consume(int(sys.argv[2])) if sys.argv[1] == "consume" else send())
