"""What a consumer would call invalid is refused where it is sent, by the same words."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sandbox.attempt import executing
from taskqueue import AsyncClient, Client, InvalidTask
from taskqueue.settings import parse
from taskqueue.task.decode import decode
from taskqueue.task.message import Message
from taskqueue.testing import RecordingClient, recording

URLS = [
    "http://user:hunter2@a.example/",
    "http://hunter2@a.example/",
    "http://user:hunter2/word@a.example/",
    "http://a..b/",
    "http://[fe80::1%25eth0]/",
    "http://\U0001f4a9.example/",
    "http://a.example:0/",
    "http://a.example:99999/",
    "http:a.example",
    "gopher://a.example/",
    "/a b",
    7,
]
METADATA: list[tuple[str, dict[str, Any]]] = [
    ("headers", {"method": "HEAD"}),
    ("headers", {"method": 5}),
    ("headers", {"headers": {"X-Count": 5}}),
    ("headers", {"headers": {"X-Count": None}}),
    ("headers", {"headers": "X: y"}),
    ("headers", {"headers": {"X": "a\nb"}}),
    ("headers", {"headers": {"Host": "x"}}),
    ("headers", {"headers": {"a b": "x"}}),
    ("headers", {"headers": {"": "x"}}),
    ("headers", {"headers": {f"X-{number}": "x" for number in range(101)}}),
    ("headers", {"headers": {"Taskqueue-Id": "x"}}),
    ("headers", {"headers": {"idempotency-key": "x"}}),
    ("callback", {"on_success": "gopher://x/"}),
    ("callback", {"on_success": "http://user:hunter2@x/"}),
    ("callback", {"on_success": {"url": "http://a..b/"}}),
    ("callback", {"on_success": {}}),
    ("callback", {"on_success": 5}),
    ("callback", {"on_success": {"url": "/x", "max_retries": -1}}),
    ("callback", {"on_success": {"url": "/x", "metadata": 5}}),
    ("callback", {"on_success": {"url": "/x", "countdown": 5}}),
]


def refused(**fields: Any) -> str:
    """Give the words by which every way to send refuses a task."""
    told = []

    async def awaits() -> None:
        await AsyncClient().send(**fields)

    ways = (
        lambda: Client().send(**fields),
        lambda: Client().send_many([fields]),
        lambda: Client().checked(**fields),
        lambda: asyncio.run(awaits()),
    )
    for way in ways:
        with recording() as client, pytest.raises(InvalidTask) as caught:
            way()
        client.assert_nothing_sent()
        told.append(str(caught.value))
    assert len(set(told)) == 1
    assert "hunter2" not in told[0]
    return told[0]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("field", ["url", "roll_back"])
def test_a_url_that_nobody_can_ask_is_not_sent(field: str, url: Any) -> None:
    """Neither for the task nor for its roll_back, and no part of a password is told."""
    fields = {"url": "/x", field: url}
    with pytest.raises(InvalidTask) as caught:
        decode(Message(json.dumps(fields).encode(), {}, {"message_id": "m"}), now=0)
    assert refused(**fields) == str(caught.value)
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(("handler", "metadata"), METADATA)
def test_metadata_that_a_handler_refuses_are_not_sent(handler: str, metadata: dict[str, Any]) -> None:
    """Where the configuration has that handler, or where there is none to ask."""
    with executing(handlers=(handler,)) as run:
        result = run("http://127.0.0.1:9/", metadata=metadata)
    assert result.invalid
    assert result.error == f"handler {handler}: {refused(url='/x', id='id-1', metadata=metadata)}"
    for text, allowed in (("", handler != "headers"), ("handlers = bearer\n", True)):
        settings = parse(f"[default]\n{text}", source="x.ini", environ={}, sending=True)
        client = RecordingClient(settings=settings)
        if allowed:
            client.send("/x", metadata=metadata)
        else:
            with pytest.raises(InvalidTask):
                client.send("/x", metadata=metadata)


@pytest.mark.parametrize("name", ["runs", "error", "since", "crashes", "refusals", "failed-url"])
def test_headers_of_ours_that_no_consumer_takes_are_not_sent(name: str) -> None:
    """Few write any of them by themselves; who does is told as by a consumer."""
    wrong: Any = -1
    told = refused(url="/x", headers={f"taskqueue-{name}": wrong})
    assert told.startswith(f"header taskqueue-{name}: must be a")
    RecordingClient().send("/x", headers={"taskqueue-due": wrong, "taskqueue-first-seen": wrong, "a": wrong})


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "/path", "roll_back": "undo"},
        {"url": "http://169.254.169.254/"},
        {"url": "http://localhost:1/", "roll_back": "https://[::1]:65535/%zz|?a=[]#b"},
        {"url": "http://faß.de/ü?ü"},
        {"url": "/x", "metadata": {"on_success": "/path", "method": "put", "headers": []}},
        {"url": "/x", "metadata": {"on_success": {"url": "http://a/", "max_retries": 3.0, "metadata": {}}}},
        {
            "url": "/x",
            "id": "mine",
            "metadata": {"headers": {"Idempotency-Key": "mine", "Taskqueue-Id": "mine"}},
        },
        {"url": "/x", "metadata": {"own": {"headers": 5}}},
    ],
)
def test_what_only_the_consumer_can_know_is_sent(fields: dict[str, Any]) -> None:
    """Where paths lead, what its networks and handlers are."""
    with recording() as sent:
        Client().send(**fields)
    assert [task.url for task in sent.sent] == [fields["url"]]
