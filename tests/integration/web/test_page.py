"""The page on a real broker: what it shows, to whom, and that it shows no secret."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pika

from sandbox.broker import Server
from sandbox.proxy import Proxy
from taskqueue.settings import parse
from tests.support.stage import Process, Stage
from tests.support.visited import TOKEN, Page, Visitor, served

SCRIPT = "<script>alert(1)</script>"
HOSTILE: dict[str, Any] = {
    "url": f"http://user:SECRET@host.example/{SCRIPT}",
    "payload": {"text": SCRIPT},
    "metadata": {"headers": {"Authorization": "Bearer SECRET"}},
}


def test_the_front_shows_counts_to_this_machine_and_nothing_else(stage: Stage) -> None:
    """Where no token was given: names and numbers, and when tasks come due; all else asks for the token."""
    stage.send("/x", countdown=50)
    stage.send("/y", countdown=70)
    stage.publish({"url": "/z"})
    with served(stage.settings, made=True) as anybody:
        front = anybody.get("/")
        assert front.status == 200
        assert (front.cells["Ready"], front.cells["Waiting"], front.cells["Dead"]) == (["1"], ["2"], ["0"])
        assert "no consumer" in front.text
        assert f"/queues/{stage.name}" in front.links
        assert "svg" in front.tags
        one = anybody.get(f"/queues/{stage.name}")
        assert "no consumer is there: start `taskqueue run`" in one.text
        assert one.cells["Waiting"] == ["2"]
        assert "form" not in one.tags
        for path in ("waiting", "ready", "dead", "waiting/task?id=x"):
            assert anybody.get(f"/queues/{stage.name}/{path}").status == 401
        for path in ("/find?id=x", "/schedules", "/orders/x"):
            assert anybody.get(path).status == 401
        assert anybody.send(f"/queues/{stage.name}", act="pause").status == 401
        assert anybody.ask("GET", "/healthz").data == b"ok\n"
        named = anybody.ask("GET", "/", headers={"Host": "evil.example"})
        assert (named.status, named.headers["Content-Type"]) == (403, "text/plain; charset=utf-8")


def test_with_a_token_everything_asks_for_it(stage: Stage) -> None:
    """By a header, or by a session; behind a prefix, whether the proxy leaves that in or not."""
    with served(stage.settings, prefix="/tq") as visitor:
        for path in ("/", f"/queues/{stage.name}", "/find?id=x"):
            closed = visitor.get(path)
            assert (closed.status, closed.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert visitor.ask("GET", f"/login?token={TOKEN}").status == 401
        wrong = visitor.login(token="another-token-of-some-length")
        assert (wrong.status, "not the token" in wrong.text, visitor.cookie) == (401, True, "")
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert visitor.ask("GET", "/", headers=bearer).status == 200
        stripped = Visitor(visitor.base.removesuffix("/tq"))
        assert stripped.ask("GET", f"/queues/{stage.name}", headers=bearer).status == 200
        front = visitor.login("ann")
        assert front.status == 200
        assert all(link.startswith(("/tq/", "#")) for link in front.links)
        assert "Log out ann" in front.text
        cookie = visitor.ask("POST", "/login", b"token=" + TOKEN.encode()).headers["Set-Cookie"]
        assert {"HttpOnly", "Path=/tq/", "SameSite=lax"} <= {each.strip() for each in cookie.split(";")}
        assert TOKEN not in cookie
        front = visitor.get("/")
        assert visitor.send("/logout", csrf=front.csrf).status == 401
        assert visitor.get("/").status == 401


def test_no_answer_lets_a_script_run_or_a_page_be_framed(stage: Stage) -> None:
    """Pages, errors, and what is not there."""
    with served(stage.settings) as visitor:
        visitor.login()
        for path in ("/", "/nowhere", "/queues/nowhere", "/static/style.css", "/openapi.json", "/login"):
            answer = visitor.ask("GET", path)
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'self'; script-src 'none'")
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert path.startswith("/static") or answer.headers["Cache-Control"] == "no-store"
            assert not re.search(rb"<script|<style|\sstyle=|\son[a-z]+=|https?://(?!www.w3.org)", answer.data)


def test_a_task_is_shown_escaped_and_without_secrets(stage: Stage) -> None:
    """In lists, by itself, and where it is found; whatever its id and body hold."""
    task_id = f"a/b?{SCRIPT}"
    with stage.connection() as connection:
        properties = pika.BasicProperties(message_id="dead-one", headers={"x-api-key": "SECRET"})
        connection.channel().basic_publish("", f"{stage.name}.dead", json.dumps(HOSTILE).encode(), properties)
    stage.send(f"/{SCRIPT}", id=task_id, countdown=80, payload={"text": SCRIPT}, metadata=HOSTILE["metadata"])
    with served(stage.settings) as visitor:
        visitor.login()
        pages: list[Page] = []
        for where, url in (("waiting", f"/{SCRIPT}"), ("dead", "host.example")):
            listed = visitor.get(f"/queues/{stage.name}/{where}?look=yes")
            assert listed.text.count("1 of 1") == 1, listed.text
            (link,) = [each for each in listed.links if "task?id=" in each]
            task = visitor.get(link)
            assert url in task.text
            assert "(hidden)" in task.text
            assert SCRIPT in task.text
            pages += [listed, task]
        found = visitor.get("/find?id=dead-one")
        assert f"dead in {stage.name}" in found.text
        for page in (*pages, found):
            assert "script" not in page.tags
            assert "SECRET" not in page.html
        assert visitor.get(f"/queues/{stage.name}/waiting/task?id=none").status == 404
        assert visitor.get(f"/queues/{stage.name}/ready?look=yes").status == 409
        wrong = visitor.get(f"/queues/{stage.name}/waiting?look=yes&after=soon")
        assert (wrong.status, "'soon' is no time" in wrong.text) == (400, True)


def test_while_the_broker_is_away_that_is_told_and_then_it_goes_on(stage: Stage, broker: Server) -> None:
    """With a 503 that names when to ask again; and the connection that was lost is made anew."""
    with Proxy(urlsplit(broker.url).port or 5672) as proxy:
        settings = replace(stage.settings, servers=(proxy.url,))
        with served(settings) as visitor:
            visitor.login()
            assert visitor.get("/").status == 200
            proxy.cut()
            assert visitor.get("/").status == 200
    away = parse("server = amqp://user:SECRET@127.0.0.1:9/\n[q]\n", source="ini", environ={})
    with served(away) as visitor:
        visitor.login()
        page = visitor.get("/")
        assert (page.status, page.headers["Retry-After"]) == (503, "5")
        assert "no broker at 127.0.0.1:9" in page.text
        assert "SECRET" not in page.html


def test_the_command_prints_a_link_and_ends_with_a_signal(stage: Stage, tmp_path: Path) -> None:
    """The link of this run lets in whoever sees the terminal; a token of a file is not printed."""
    process = Process("web", "--config", str(stage.path), "--listen", "127.0.0.1:0")
    try:
        process.wait_for("to see tasks and to act: ")
        (link,) = re.findall(r"act: (http://127\.0\.0\.1:\d+)(/login\?token=\S+)", process.log)
        visitor = Visitor(link[0])
        assert visitor.ask("GET", link[1]).headers["Location"] == "/"
        assert visitor.get("/schedules").status == 200
    finally:
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    process = Process(
        "web", "--config", str(stage.path), "--listen", "127.0.0.1:0", "--token-file", str(file)
    )
    try:
        process.wait_for("listening on ")
        visitor = Visitor(process.log.split("listening on ")[1].split()[0].rstrip("/"))
        assert visitor.login().status == 200
    finally:
        process.signal(signal.SIGINT)
        assert process.wait() == 0
    assert TOKEN not in process.log
