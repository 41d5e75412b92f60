"""Wrap an ASGI application: no request that is not genuine (401), and no task twice (200), gets through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from taskqueue.receiver import DUPLICATE, AsyncStore, NotDone, NotGenuine, Verifier, check_done, check_size

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Receiver:
    """An application that only gets genuine tasks, each done once where there is a `store`."""

    def __init__(self, app: App, verifier: Verifier, store: AsyncStore | None = None) -> None:
        self._app = app
        self._verifier = verifier
        self._store = store

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request; a websocket is no task."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            body = await _body(receive)
            task_id = self._verifier.verify(headers, body)
        except NotGenuine as error:
            await _answer(send, 401, str(error).encode())
            return
        once_more = _Again(body, receive)
        if self._store is None:
            await self._app(scope, once_more, send)
            return
        await self._once(self._store, task_id, scope, once_more, send)

    async def _once(
        self,
        store: AsyncStore,
        task_id: str,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        events: list[Event] = []
        new = True

        async def keep(event: Event) -> None:
            events.append(event)

        try:
            async with store.once(task_id) as new:
                if new:
                    await self._app(scope, receive, keep)
                    _check(events)
        except NotDone:
            pass
        if not new:
            await _answer(send, 200, DUPLICATE)
        # Nobody is told of a success before it is kept.
        for event in events:
            await send(event)


class _Again:
    """Gives the body that was read, and then whatever else comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._first: Event | None = {"type": "http.request", "body": body, "more_body": False}
        self._receive = receive

    async def __call__(self) -> Event:
        first, self._first = self._first, None
        return await self._receive() if first is None else first


def _check(events: list[Event]) -> None:
    started = [event for event in events if event["type"] == "http.response.start"]
    check_done(started[0]["status"] if started else 0)


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            raise NotGenuine("the connection ended before the body did")
        parts.append(event.get("body", b""))
        size += len(parts[-1])
        more = event.get("more_body", False)
        check_size(size)
    return b"".join(parts)


async def _answer(send: Send, status: int, body: bytes) -> None:
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
