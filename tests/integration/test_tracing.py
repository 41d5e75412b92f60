"""Traces: passed through by everybody, with spans of our own where the ini asks for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from sandbox.receiver import Receiver
from taskqueue.errors import InvalidTask
from taskqueue.task.decode import decode
from taskqueue.task.message import Message
from tests.support.stage import PATIENCE, Stage, eventually

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """Keep the spans of this process, whose provider can be set but once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[Callable[[str], list[ReadableSpan]]]:
    """Give the finished spans whose name begins so."""
    exporter.clear()
    yield lambda name: [each for each in exporter.get_finished_spans() if each.name.startswith(name)]
    exporter.clear()


def number(span: ReadableSpan) -> tuple[int, int]:
    """Give the ids of trace and span."""
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def test_a_task_is_one_trace_from_send_to_its_last_run(
    staged: Callable[..., Stage], receiver: Receiver, spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """Send, then a wait and a run for each attempt, and each request names its own run."""
    stage = staged(tracing="opentelemetry")
    receiver.answer("/x", [503, 200])
    task = stage.send("/x", countdown=0.5)
    stage.consume()
    receiver.wait_for(2)
    eventually(lambda: len(spans("run")) == 2, "two runs")
    stage.settle()
    (send,) = spans("send")
    waits, runs = spans("wait"), spans("run")
    assert [each.name for each in waits + runs] == [f"wait {stage.name}"] * 2 + [f"run {stage.name}"] * 2
    for span in waits + runs:
        assert span.parent is not None
        assert (span.parent.trace_id, span.parent.span_id) == number(send)
        assert span.attributes is not None
        assert span.attributes["messaging.message.id"] == task
        assert span.attributes["messaging.system"] == "rabbitmq"
        assert span.attributes["messaging.destination.name"] == stage.name
    assert (send.name, send.kind) == (f"send {stage.name}", SpanKind.PRODUCER)
    assert dict(send.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": stage.name,
        "messaging.message.id": task,
        "messaging.rabbitmq.destination.routing_key": "in>0.5s",
    }
    for run in runs:
        assert run.kind is SpanKind.CONSUMER
        assert (run.attributes or {})["messaging.operation.name"] == "run"
        assert (run.attributes or {})["messaging.operation.type"] == "process"
    assert [(each.attributes or {}).get("error.type") for each in runs] == ["503", None]
    for request, run in zip(receiver.requests, runs, strict=True):
        trace_id, span_id = number(run)
        assert request.headers["traceparent"].startswith(f"00-{trace_id:032x}-{span_id:016x}-")
    assert [each.status.description for each in runs] == ["status 503", None]
    assert [(each.attributes or {})["http.response.status_code"] for each in runs] == [503, 200]
    lengths = [((each.end_time or 0) - (each.start_time or 0)) / 1e9 for each in waits]
    assert 0.45 < lengths[0] < PATIENCE
    # The second wait began when the first run ended: min_backoff_seconds is 0.2.
    assert 0.15 < lengths[1] < PATIENCE


def test_a_trace_of_the_publishers_own_goes_on(
    staged: Callable[..., Stage], receiver: Receiver, spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """AMQP headers of any program are the parent of the run, and its state is kept."""
    stage = staged(tracing="opentelemetry")
    stage.consume()
    stage.publish({"url": "/x"}, headers={"traceparent": PARENT, "tracestate": "a=1"})
    (request,) = receiver.wait_for(1)
    stage.settle()
    (run,) = spans("run")
    assert f"{number(run)[0]:032x}" == PARENT.split("-")[1]
    assert request.headers["traceparent"].split("-")[:2] == PARENT.split("-")[:2]
    assert request.headers["traceparent"] != PARENT
    assert request.headers["tracestate"] == "a=1"


def test_a_failure_without_an_answer_is_told(
    staged: Callable[..., Stage], receiver: Receiver, spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """The span of the run says why."""
    del receiver
    stage = staged(tracing="opentelemetry")
    stage.consume()
    stage.send("http://127.0.0.1:1/", max_retries=1)
    stage.dead()
    stage.settle()
    (run,) = spans("run")
    assert run.status.description == "connection refused: 127.0.0.1:1"
    assert (run.attributes or {})["error.type"] == "connection refused"
    assert not run.events


def test_a_call_that_sends_many_says_how_many(
    staged: Callable[..., Stage], spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """And to which queue, and what kind of error ended it."""
    stage = staged(tracing="opentelemetry")
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(3))
        with pytest.raises(InvalidTask):
            client.send_many([{"url": "", "queue": stage.name}])
    sent, failed = spans("send")
    assert sent.name == f"send {stage.name}"
    assert (sent.attributes or {})["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in (sent.attributes or {})
    assert (failed.attributes or {})["error.type"] == "InvalidTask"
    assert failed.status.status_code is StatusCode.ERROR


def test_without_tracing_a_trace_passes_through_unchanged(
    stage: Stage, receiver: Receiver, spans: Callable[[str], list[ReadableSpan]]
) -> None:
    """Also over a retry; and no span is made."""
    receiver.answer("/x", [500, 200])
    stage.consume()
    stage.publish({"url": "/x"}, headers={"traceparent": PARENT, "tracestate": "a=1"})
    sent = [(each.headers["traceparent"], each.headers["tracestate"]) for each in receiver.wait_for(2)]
    assert sent == [(PARENT, "a=1")] * 2
    stage.settle()
    assert not spans("")


def test_without_tracing_nothing_is_imported() -> None:
    """What is off costs nothing, not even an import."""
    modules = "taskqueue.consume.consumer, taskqueue.send.client"
    code = f"import sys, {modules}; print('opentelemetry' in str(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "value",
    [
        "", "x", "00-abc", 7, PARENT.upper(), PARENT + "\r\nEvil: 1", "ff" + PARENT[2:],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
    ],
)  # fmt: skip
def test_a_traceparent_that_is_none_is_left_out(value: object) -> None:
    """It is no reason to fail a task, and never gets into a request."""
    message = Message(b'{"url": "/x"}', {"traceparent": value, "tracestate": "a\nb"}, {"message_id": "m"})
    task = decode(message, now=0)
    assert (task.traceparent, task.tracestate) == (None, None)
