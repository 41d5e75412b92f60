"""`taskqueue send --dry-run`: what would be sent, its way, and the request that it leads to."""

from __future__ import annotations

import dataclasses
import shlex
import time
from dataclasses import dataclass
from typing import Any

from taskqueue.cli import common, console, tables
from taskqueue.cli.attempts import Attempt
from taskqueue.durations import duration
from taskqueue.redact import safe_headers, without_login, without_logins
from taskqueue.request.execute import Executor
from taskqueue.request.http.fault import RequestFailed
from taskqueue.request.http.transport import Outgoing, Reply
from taskqueue.send.new_task import NewTask
from taskqueue.send.producer import Producer
from taskqueue.settings import Settings


@dataclass(frozen=True, slots=True)
class _Request:
    """The request of a first attempt; credentials are hidden."""

    method: str
    url: str
    headers: dict[str, str]
    body: str | None

    @property
    def curl(self) -> str:
        """Write it as a command."""
        headers = [f"{name}: {value}" if value else f"{name};" for name, value in self.headers.items()]
        words = ["curl", "--globoff", "--path-as-is", "-X", self.method, self.url]
        words += [word for header in headers for word in ("-H", header)]
        # Not --data-binary, which takes a text that begins with @ for the name of a file.
        return shlex.join(words + ([] if self.body is None else ["--data-raw", self.body]))


class _Kept:
    """Stands where the connections do, and keeps the request."""

    def __init__(self) -> None:
        self.request: Outgoing | None = None

    def send(self, request: Outgoing, ends: float) -> Reply:
        del ends
        self.request = request
        raise RequestFailed("not made")

    def host(self, url: str) -> str:
        return url

    def close(self) -> None:
        """Have nothing to close."""


def show(new: NewTask, settings: Settings, *, as_json: bool) -> bool:
    """Print what would be sent; False where it would be dead at once. Raises what `send` does for a task."""
    now = time.time()
    producer = Producer("", settings, tracing=False)
    new = producer.checked(new)
    publish = producer.publish(new)
    attempt = Attempt.of(new, 1, now)
    request, refused = _request(attempt, settings, new.queue)
    told: dict[str, Any] = {
        "id": new.id,
        "queue": new.queue,
        "due": tables.moment(attempt.task.due / 1000),
        "exchange": publish.exchange,
        "routing_keys": list(publish.routing_keys),
    }
    message = without_logins(publish.message.body.decode())
    if as_json:
        made = None if request is None else dataclasses.asdict(request) | {"curl": request.curl}
        common.emit(told | {"message": message, "request": made, "error": refused})
        return refused is None
    wait = attempt.task.due / 1000 - now
    told["due"] += f", in {duration(wait)}" if wait > 0 else ", at once"
    told["routing_keys"] = ", then ".join(publish.routing_keys)
    for name, value in (told | {"message": message}).items():
        console.out.print(tables.cell(f"{name:<13} {value}"), soft_wrap=True)
    if request is not None:
        common.line(request.curl)
    if refused is not None:
        common.say(f"it would be dead at once: {refused}", "red")
    common.say(
        "nothing was sent; what is (hidden) is a credential, and a signature is good for minutes", "dim"
    )
    return refused is None


def _request(attempt: Attempt, settings: Settings, queue: str) -> tuple[_Request | None, str | None]:
    """Give the request of the first attempt, as the handlers of the queue make it, or why there is none."""
    kept = _Kept()
    policy = dataclasses.replace(settings.queues[queue], tracing="off", per_host=None)
    result = Executor(policy, transport=kept).run(attempt.task, queue=queue)
    made = kept.request
    if made is None:
        return None, result.error
    body = None if made.body is None else made.body.decode()
    headers = safe_headers(made.headers, attempt.known)
    return _Request(made.method, without_login(made.url), headers, body), None
