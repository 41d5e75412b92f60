"""Spans for send, wait and run (extra `opentelemetry`). Nothing is imported where tracing is off.

Names and attributes are those of OpenTelemetry's conventions for messaging with RabbitMQ
(https://opentelemetry.io/docs/specs/semconv/messaging/rabbitmq/). The destination is the queue that a task is
for: what stands between, exchanges and routing keys, differs with each delay. The sender's span is the parent
of a run, which is one message in no other span.

Spans go to the tracer provider of the process. A program that sends has its own, and
``opentelemetry-instrument taskqueue run`` sets one up. A message carries ``traceparent`` and ``tracestate``
as AMQP headers, whoever wrote them. The request carries those of its own span.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taskqueue.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from taskqueue.task.decode import Task
    from taskqueue.task.message import Publish

_SYSTEM = "messaging.system"
_DESTINATION = "messaging.destination.name"
_ERROR = "error.type"
_BEFORE_DETAILS = re.compile(r"[^:(\d]*")


class Tracing:
    """Makes spans; raises ConfigError without the extra."""

    def __init__(self) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 an extra
            from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
                TraceContextTextMapPropagator,
            )
        except ImportError as error:
            raise ConfigError("tracing: needs the extra: pip install 'taskqueue[opentelemetry]'") from error
        self._trace = trace
        self._tracer = trace.get_tracer("taskqueue")
        self._context = TraceContextTextMapPropagator()

    @contextmanager
    def send(self) -> Iterator[Sending]:
        """Wrap a call that sends tasks: its span is the parent of all later spans of the tasks."""
        attributes = _operation("send", "send")
        kind = self._trace.SpanKind.PRODUCER
        with self._tracer.start_as_current_span("send", kind=kind, attributes=attributes) as span:
            sending = Sending()
            try:
                yield sending
            except BaseException as error:
                span.set_attribute(_ERROR, type(error).__qualname__)
                raise
            finally:
                sending.describe(span)

    def carried(self, headers: Mapping[str, Any]) -> dict[str, Any]:
        """Give the headers of a message with the current trace, unless they name a trace themselves."""
        carrier = dict(headers)
        if "traceparent" not in carrier:
            self._context.inject(carrier)
        return carrier

    @contextmanager
    def run(self, task: Task, queue: str) -> Iterator[Run]:
        """Wrap an attempt: a span for the wait before it, one for the run, both children of the sender's."""
        parent = self._context.extract(
            {
                name: value
                for name, value in (("traceparent", task.traceparent), ("tracestate", task.tracestate))
                if value is not None
            }
        )
        about: dict[str, Any] = {
            _DESTINATION: queue,
            "messaging.message.id": task.id,
            "taskqueue.attempt": task.runs + 1,
        }
        self._wait(task, queue, parent, {_SYSTEM: "rabbitmq", **about})
        with self._tracer.start_as_current_span(
            f"run {queue}",
            context=parent,
            kind=self._trace.SpanKind.CONSUMER,
            attributes={**_operation("run", "process"), **about},
            # `ended` tells how it went, in our own words.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            headers: dict[str, str] = {}
            self._context.inject(headers)
            yield Run(self, span, headers)

    def failed(self, span: Any, error: str) -> None:
        """Mark a span as failed."""
        span.set_status(self._trace.StatusCode.ERROR, error)

    def _wait(self, task: Task, queue: str, parent: Context, attributes: Mapping[str, Any]) -> None:
        began = task.first_seen if task.since is None else task.since
        now = time.time_ns()
        span = self._tracer.start_span(
            f"wait {queue}",
            context=parent,
            kind=self._trace.SpanKind.INTERNAL,
            attributes={**attributes, "taskqueue.due": task.due},
            # Clocks differ: a wait never ends before it began.
            start_time=min(began * 1_000_000, now),
        )
        span.end(now)


class Sending:
    """What a call has sent so far."""

    def __init__(self) -> None:
        self._queues: set[str] = set()
        self._count = 0
        self._last: Publish | None = None

    def sends(self, queue: str, publish: Publish) -> None:
        """Note a task that goes out."""
        self._queues.add(queue)
        self._count += 1
        self._last = publish

    def describe(self, span: Any) -> None:
        """Say in the span of the call what was sent."""
        if len(self._queues) == 1:
            (queue,) = self._queues
            span.update_name(f"send {queue}")
            span.set_attribute(_DESTINATION, queue)
        if self._count == 1 and self._last is not None:
            span.set_attribute("messaging.message.id", self._last.message.properties["message_id"])
            span.set_attribute("messaging.rabbitmq.destination.routing_key", self._last.routing_keys[0])
        else:
            span.set_attribute("messaging.batch.message_count", self._count)


class Run:
    """The span of an attempt that runs."""

    def __init__(self, tracing: Tracing, span: Any, headers: Mapping[str, str]) -> None:
        self.headers = headers
        """The trace headers that the request carries."""
        self._tracing = tracing
        self._span = span

    def ended(self, status: int | None, error: str | None) -> None:
        """Say how it went; `error` is None for a success."""
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
        if error is not None:
            self._span.set_attribute(_ERROR, _kind(error) if status is None else str(status))
            self._tracing.failed(self._span, error)


def _operation(name: str, kind: str) -> dict[str, str]:
    return {_SYSTEM: "rabbitmq", "messaging.operation.name": name, "messaging.operation.type": kind}


def _kind(error: str) -> str:
    """Give the words of an error before host, number or text of others, of which there are few."""
    found = _BEFORE_DETAILS.match(error)
    return (found[0] if found else "").strip() or "_OTHER"


def started(setting: str) -> Tracing | None:
    """Make the Tracing that `tracing` in the ini asks for, None for ``off``."""
    return None if setting == "off" else Tracing()
