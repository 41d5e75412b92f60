"""No login of a task's URL comes out by any way, and no query by those that many read."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any, cast

import pytest

from taskqueue import logs
from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.cli.attempts import Attempt, explain
from taskqueue.consume.metrics import PrometheusMetrics
from taskqueue.consume.notices import Notices
from taskqueue.consume.telling import Telling
from taskqueue.errors import InvalidTask
from taskqueue.events import Event, Events, summary, write
from taskqueue.handlers import Answer
from taskqueue.history.records import record
from taskqueue.operate import whole
from taskqueue.operate.dead import dead_task
from taskqueue.operate.reading import Facts
from taskqueue.request.execute import Executor
from taskqueue.request.handlers.callback import Callback
from taskqueue.request.http import fault
from taskqueue.request.http.fault import RequestFailed
from taskqueue.request.http.transport import Outgoing, Reply
from taskqueue.send.new_task import NewTask
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import FAILED, INVALID, Dead, on_receipt
from taskqueue.task.decode import FAILED_URL, FAILURE, Task, decode
from taskqueue.task.message import Message
from taskqueue.task.result import Result
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way
from taskqueue.web.bodies import shown
from taskqueue.web.rows import dead_row, ready_row

log = logging.getLogger(__name__)
pytestmark = pytest.mark.usefixtures("root_logger")

LOGINS = (
    "//user:SECRET@h/x", "//SECRET@h/x", "//user:SEC/SECRET@h/x", "//user:SECRET@h?SECRET=1@h",
    "http://user:SECRET@h/x", "http://user:SEC/SECRET@h/x", "http://SECRET@h", "HTTP:///user:SECRET@h/x",
    " http://user:SECRET@h/x", "http:user:SECRET@h/x", "http:/user:SECRET@h/x", "ftp://SECRET:SECRET@h/x",
    "user:SECRET@h/x", "SECRET:x@h/x", "user_1:SECRET@h/x",
    "/a//user:SECRET@h/x", "/proxy/http://user:SECRET@h/x", "http://h/proxy/https://h/ftp://SECRET@h/x",
    "//user:" + "p" * 700 + "SECRET@h/x",
)  # fmt: skip
QUERIES = ("/x?a=SECRET", "/x#SECRET", "http://h/x?a=SECRET", "http://h?SECRET y", "//h/x?SECRET", "x?SECRET")
QUEUE = QueueSettings("mail", base_url="http://app/base", handlers=("callback",))
BARE = QueueSettings("mail", handlers=("callback",))
NOW = 1_000.0


def message(url: str, **fields: Any) -> Message:
    """Make a message with the URL wherever a URL may stand."""
    document = {"url": url, "roll_back": url, "metadata": {"on_success": url}, **fields}
    return Message(json.dumps(document).encode(), {}, {"message_id": "m"})


def task(url: str) -> Task:
    """Make a task as it would be if none were refused for its URL, so that each way is tried with each."""
    made = decode(message("/x", metadata={"on_success": "/paid"}), now=NOW)
    return replace(made, url=url, roll_back=url)


def refusals(url: str) -> list[str]:
    """Give what decoding has against messages that hold the URL, each wrong in another way."""
    bodies = [message(url, countdown=-1).body, message(f"{url} ").body, message(url).body[:-1] + b",}"]
    bodies += [json.dumps({"url": "/x", each: url}).encode() for each in ("eta", "roll_back", "metadata")]
    bodies += [json.dumps(url).encode(), url.encode(), json.dumps({"url": [url]}).encode()]
    found = []
    for body in bodies:
        try:
            decode(Message(body, {"taskqueue-due": url}, {"message_id": "m"}), now=NOW)
        except InvalidTask as error:
            found.append(str(error))
    assert found
    return found


def deaths(url: str) -> list[Dead]:
    """Give the deaths of tasks with the URL: by what they are, by an attempt, by what is wrong with them."""
    received = on_receipt(task(url), BARE, (), deliveries=0, now=NOW)
    made = Executor(BARE).run(task(url), queue="mail")
    errors = [*refusals(url), made.error or "", received.error if isinstance(received, Dead) else ""]
    return [Dead(INVALID, error, 0) for error in errors]


def quoting(url: str) -> list[Dead]:
    """Give deaths whose errors quote the URL as a program of others might."""
    return [Dead(FAILED, text, 1) for text in (f"at {url.strip()}", f"said {json.dumps({'to': url})}")]


def told(url: str, dead: list[Dead]) -> list[Event]:
    """Give the events of all these deaths, and of a success."""
    found: list[Event] = []
    for queue in (QUEUE, BARE):
        telling = Telling(queue, Events(found.append), clock=lambda: NOW)
        telling.done(task(url), Result(200, None, None, 1.0))
        delivery = Delivery(cast("ConfirmChannel", None), 1, message(url))
        for each in dead:
            publishes = successors(message(url), task(url), each, way=Way("mail", "mail"), now=NOW)
            following = telling.following(delivery, task(url), each, None, publishes)
            found += [event for event in following if event is not None]
    return found


def lines(capsys: pytest.CaptureFixture[str], dead: list[Dead], events: list[Event]) -> str:
    """Give what a log holds of it, in both formats."""
    written = ""
    for log_format in ("text", "json"):
        logs.start(log_format, "debug")
        for event in events:
            write(event)
        for each in dead:
            Notices("mail").give(each.error)
            log.error("%s", fault.line(each.error), exc_info=ValueError(each.error))
        logs.finish()
        written += capsys.readouterr().err
    assert written.count("\n") > 2 * len(dead)
    return written


@pytest.mark.parametrize("url", LOGINS + QUERIES)
def test_no_event_record_or_error_shows_a_login_or_query(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log lines, the history, metrics, and reasons of death are read by many."""
    dead = deaths(url)
    events = told(url, dead)
    counts = PrometheusMetrics()
    for event in events:
        counts.happened(event)
    shown = [summary(event) for event in events] + [str(record(NOW, event)) for event in events]
    shown += [str(list(counts.registry.collect())), *(each.error for each in dead)]
    assert "SECRET" not in "\n".join(shown)
    assert "SECRET" not in lines(capsys, dead, events)


@pytest.mark.parametrize("url", [url for url in LOGINS if "//" in url])
def test_no_login_comes_out_of_an_error_of_others(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A handler's exception, or an error that an older version or another program has written."""
    dead = quoting(url)
    assert "SECRET" not in lines(capsys, dead, told("/x", dead))
    for each in dead:
        assert "SECRET" not in fault.line(each.error)
        for publish in successors(message("/x"), task("/x"), each, way=Way("mail", "mail"), now=NOW):
            assert "SECRET" not in str(publish.message.headers)
        kept = Message(b"{}", {"taskqueue-error": each.error, "taskqueue-reason": "failed"})
        assert "SECRET" not in f"{Facts(kept).error} {dead_task(kept, 'mail').error}"


@pytest.mark.parametrize("url", LOGINS)
def test_no_list_and_no_page_shows_a_login(url: str) -> None:
    """Of waiting, ready and dead tasks; and a whole message, but for its body as it is."""
    there = message(url)
    rows = [ready_row(Facts(there)), dead_row(dead_task(there, "mail"))]
    assert "SECRET" not in str(rows)
    # A text that may be no URL at all stays: payloads are full of them.
    if "//" in url or url.lower().startswith("http"):
        assert "SECRET" not in f"{shown(there)} {whole.document(there)} {list(whole.lines(there))}"


class _Kept:
    """Stands where the connections do, and keeps the request."""

    request: Outgoing

    def send(self, request: Outgoing, ends: float) -> Reply:
        """Keep it."""
        del ends
        self.request = request
        raise RequestFailed("not made")

    host = staticmethod(str)
    close = staticmethod(lambda: None)


@pytest.mark.parametrize("url", LOGINS)
def test_no_other_receiver_gets_a_login(url: str) -> None:
    """Neither that of the roll_back, also of one that an older version has sent, nor that of on_success."""
    source = message("/x", roll_back="/undo")
    *_, undo = successors(source, task(url), Dead(FAILED, "x", 1), way=Way("mail", "mail"), now=NOW)
    for headers in (
        undo.message.headers,
        {**undo.message.headers, FAILED_URL: url, FAILURE: "failed: at //u:SECRET@h"},
    ):
        kept = _Kept()
        failed = decode(Message(undo.message.body, headers, {"message_id": "m.roll_back"}), now=NOW)
        Executor(QUEUE, transport=kept).run(failed, queue="mail")
        assert "Taskqueue-Failed-Url" in kept.request.headers
        assert "SECRET" not in str(kept.request)
    (call,) = Callback(QUEUE).follow(Answer(200, {}, b"", whole=True), task(url))
    assert "SECRET" not in str(call.payload)


@pytest.mark.parametrize("url", ["//user:SECRET@h/x", "/a//SECRET@h/x", "user_1:SECRET@h/x"])
def test_an_attempt_that_is_explained_shows_no_login(url: str) -> None:
    """Neither its steps nor its end; nobody listens there."""
    attempt = Attempt.of(NewTask(url, "q", id="t", roll_back=url, max_retries=1), 1, 0.0)
    for base in ("http://127.0.0.1:9", None):
        explained = explain(attempt, QueueSettings("q", base_url=base), lambda *_: None)
        assert explained.decision == "dead"
        assert "SECRET" not in str(explained)
