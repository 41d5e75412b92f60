"""One attempt by the settings of a queue, explained: what would become of the task, and nothing is sent."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from sandbox.peer import Peer, answering
from sandbox.receiver import Answer, Receiver
from taskqueue.cli.attempts import Attempt, Explained, explain
from taskqueue.send.new_task import NewTask
from taskqueue.settings import QueueSettings
from tests.support import command
from tests.support.signed import SECRET
from tests.support.stage import Process


def tried(url: str, number: int = 1, *, settings: dict[str, Any] | None = None, **fields: Any) -> Explained:
    """Try a task."""
    shown: list[str] = []
    attempt = Attempt.of(NewTask(url, "q", id="t", **fields), number, 0.0)
    queue = QueueSettings("q", jitter=0.0, **(settings or {}))
    explained = explain(attempt, queue, lambda _, name, told: shown.append(f"{name} {told}"))
    assert shown == [f"{step['step']} {step['told']}" for step in explained.steps]
    return explained


def told(explained: Explained, step: str) -> str:
    """Give what was said of a step."""
    (found,) = (each["told"] for each in explained.steps if each["step"] == step)
    return str(found)


def test_each_step_of_a_success_is_told(receiver: Receiver) -> None:
    """In their order; the request is a real one."""
    url = f"http://localhost:{receiver.port}/x"
    explained = tried(url, payload={"a": 1})
    assert [step["step"] for step in explained.steps] == ["name", "address", "request", "answer", "decision"]
    assert "127.0.0.1" in told(explained, "name")
    assert told(explained, "request").startswith(f"POST {url}\nContent-Type: application/json\n")
    assert told(explained, "request").endswith('\n{"a":1}')
    assert told(explained, "decision") == "done: status 200 is in success_status"
    assert (explained.decision, explained.status, explained.due) == ("done", 200, None)
    assert [request.body for request in receiver.requests] == [b'{"a":1}']


def test_a_failure_is_told_with_the_time_of_the_next_attempt(receiver: Receiver) -> None:
    """And whether the receiver's wish for time counts."""
    receiver.answer("/x", Answer(503, {"Retry-After": "30"}))
    explained = tried(f"{receiver.url}/x", 3, max_retries=9, settings={"min_backoff_seconds": 2.0})
    assert explained.decision == "again"
    assert explained.due is not None
    assert told(explained, "decision").splitlines()[0] == "again: status 503"
    assert "attempt 4 of 9 would be made in 30 s" in told(explained, "decision")
    assert "Retry-After: 30 (heeded" in told(explained, "decision")


def test_the_last_attempt_says_what_would_be_called(receiver: Receiver) -> None:
    """Nothing is: neither the roll_back nor another attempt."""
    receiver.answer("/x", 500)
    explained = tried(f"{receiver.url}/x", 2, max_retries=2, roll_back="http://x/undo")
    assert (explained.decision, explained.reason, explained.error) == ("dead", "failed", "status 500")
    assert "roll_back would be called: http://x/undo" in told(explained, "decision")
    assert len(receiver.requests) == 1


def test_what_is_wrong_on_the_way_is_told(receiver: Receiver) -> None:
    """Without an answer, and where no request is ever made."""
    nobody = tried("http://127.0.0.1:9/x")
    assert [step["step"] for step in nobody.steps] == ["failed", "decision"]
    assert told(nobody, "failed") == "connection refused: 127.0.0.1:9"
    denied = tried(f"{receiver.url}/x", settings={"deny_networks": ("127.0.0.0/8",)})
    assert "deny_networks" in told(denied, "failed")
    assert (tried("/path").decision, tried("/path").reason) == ("dead", "invalid")
    assert receiver.requests == []


def test_no_credential_is_told(receiver: Receiver) -> None:
    """Whatever its name is where a handler may have given it; what the task asks for is no secret."""
    receiver.answer("/x", Answer(200, {"Set-Cookie": "sesame"}))
    settings: dict[str, Any] = {
        "base_url": receiver.url,
        "handlers": ("headers", "bearer", "signing"),
        "bearer_token": "sesame",
        "signing_secret": (SECRET,),
    }
    metadata = {"headers": {"X-Plain": "seen", "X-Api-Key": "sesame"}}
    explained = tried("/x", settings=settings, metadata=metadata)
    assert explained.decision == "done"
    assert "X-Plain: seen" in told(explained, "request")
    assert "sesame" not in str(explained)
    assert receiver.requests[0].headers["Authorization"] == "Bearer sesame"


def test_tls_is_told_with_the_certificate(tmp_path: Path) -> None:
    """Its names, and until when it is good; or why it is not trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    with Peer(answering(), tls=server) as peer:
        explained = tried(peer.url, settings={"request_ca_file": tmp_path / "ca.pem"})
        assert told(explained, "TLS").startswith("TLSv1.3, TLS_")
        assert "certificate for 127.0.0.1, by trustme" in told(explained, "TLS")
        assert "not trusted" in told(tried(peer.url), "failed")


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """Give an ini whose broker is nowhere: none is needed."""
    path = tmp_path / "taskqueue.ini"
    path.write_text(
        "server = amqp://127.0.0.1:9/\n[q]\nbase_url = http://127.0.0.1:1\nhandlers = headers, signing\n"
        f"signing_secret = {SECRET}\n[plain]\n"
    )
    return path


def test_the_commands_together_show_both_sides(ini: Path) -> None:
    """What `try` sends, `listen` verifies and answers; its exit code says whether the task is done."""
    listening = Process("listen", "q", "--port", "0", "--flaky", "1", "--config", str(ini))
    try:
        listening.wait_for("listening on")
        url = next(word for word in listening.log.split() if word.startswith("http")).rstrip(";")
        first = command.read(ini, "try", "q", f"{url}/x", "--payload", '{"a":  1}', code=1)
        assert (first["decision"], first["status"]) == ("again", 500)
        shown = command.ran(ini, "try", "q", f"{url}/x", "--attempt", "2", "--id", "mine")
        assert "done: status 200 is in success_status" in shown
        listening.wait_for("POST /x answer 500 attempt 1 id try-")
        listening.wait_for("POST /x answer 200 attempt 2 id mine signature verified")
        listening.wait_for('  {"a":  1}')
    finally:
        listening.stop()
    assert listening.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("listen", "plain"), "has no signing_secret"),
        (("listen", "nobody"), "'nobody' is not in the configuration"),
        (("try", "q", "ftp://x/"), "url: must have the scheme http or https"),
        (("try", "q", "/x", "--metadata", "{"), "--metadata: is not JSON"),
        (("try", "nobody", "/x"), "'nobody' is not in the configuration"),
    ],
)
def test_a_mistake_is_one_line_of_what_to_do(ini: Path, arguments: tuple[str, ...], words: str) -> None:
    """Exit code 2."""
    ended = command.run(ini, *arguments)
    assert ended.returncode == 2
    assert words in ended.stderr.decode()
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_in_use_is_told(ini: Path, receiver: Receiver) -> None:
    """With what to do."""
    ended = command.run(ini, "listen", "--port", str(receiver.port))
    assert ended.returncode == 2
    assert b"choose another --port" in ended.stderr
