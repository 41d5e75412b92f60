"""The history on the page: what failed, of a queue and since a time; and how to have one."""

from __future__ import annotations

from pathlib import Path

from sandbox.receiver import Receiver
from taskqueue.settings import load
from tests.support import command
from tests.support.admin import Admin
from tests.support.stage import Stage, eventually
from tests.support.visited import Page, served

KEPT = "history = 1d\nhistory_bytes = 100M\n"


def test_the_page_lists_what_the_command_lists(admin: Admin, receiver: Receiver, tmp_path: Path) -> None:
    """The last record first; by the same conditions, with the same words where nothing is found."""
    stage = Stage(admin.url, receiver, tmp_path)
    stage.path.write_text(KEPT + stage.path.read_text())
    command.ran(stage.path, "declare")
    receiver.answer("/x", [500, 200])
    try:
        process = stage.run()
        stage.publish({"url": "/x?token=secret", "max_retries": 2}, message_id="m")
        stage.publish({"url": "/y"}, message_id="n")
        process.wait_for("event=done id=m ")
        process.wait_for("event=done id=n ")
        with served(load(stage.path)) as visitor:
            visitor.login()
            every = f"/history?queue={stage.name}"

            def shown(query: str = "") -> Page:
                return visitor.get(every + query)

            eventually(lambda: sorted(shown().cells.get("Id", [])) == ["m", "m", "n"], "all are recorded")
            page = shown()
            assert "3 of 3 records" in page.text
            assert page.cells["At"] == sorted(page.cells["At"], reverse=True)
            assert set(page.cells["URL"]) == {f"{receiver.url}/x", f"{receiver.url}/y"}
            assert "secret" not in page.html
            assert "/find?id=m" in page.links
            failed = shown("&failed=yes&url=*/x&since=10m")
            assert (failed.cells["Event"], failed.cells["Status"]) == (["retried"], ["500"])
            assert "1 of 3 records" in shown("&limit=1").text
            nothing = shown("&since=2100-01-01")
            assert "nothing of the kind was recorded in that time" in nothing.text
            wrong = shown("&since=yesterday")
            assert (wrong.status, "since: must be how long ago" in wrong.text) == (400, True)
            assert visitor.get("/history?queue=nowhere").status == 404
            assert visitor.get("/history").cells["Queue"] == [stage.name] * 3
    finally:
        stage.stop()


def test_without_a_history_the_page_says_how_to_have_one(stage: Stage) -> None:
    """In the words of the command; and only to who has the token."""
    with served(stage.settings) as visitor:
        assert visitor.get("/history").status == 401
        visitor.login()
        page = visitor.get(f"/history?queue={stage.name}")
        assert "no history is kept: set 'history = 7d' in the ini" in page.text
        done = command.run(stage.path, "history")
        assert "no history is kept: set 'history = 7d' in the ini" in done.stderr.decode()
