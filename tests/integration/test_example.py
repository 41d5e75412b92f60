"""The example package: installed as anybody would, found by its entry point, at work in a consumer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.receiver import Answer, Receiver
from tests.support.command import read
from tests.support.stage import Process, Stage

EXAMPLE = Path(__file__).parents[2] / "examples" / "partner"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the example in a folder of its own, out of the way of all other tests."""
    folder = tmp_path_factory.mktemp("site")
    # From a copy, as a build leaves files in the tree.
    source = tmp_path_factory.mktemp("source") / "partner"
    shutil.copytree(EXAMPLE, source)
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
            *("--no-build-isolation", "--disable-pip-version-check", "--target", str(folder), str(source)),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def partner(staged: Callable[..., Stage], site: Path) -> Iterator[Stage]:
    """Run `taskqueue run` with the handler, in a process that can import it."""
    stage = staged(handlers="headers, partner")
    environment = {"PYTHONPATH": str(site), "PARTNER_KEYS": "acme=k1 globex=k2"}
    process = Process("run", "--config", str(stage.path), environment=environment)
    process.wait_for(f"consuming from {stage.name}")
    yield stage
    process.stop()


def test_the_request_carries_the_partners_key(partner: Stage, receiver: Receiver) -> None:
    """Only for tasks that name one."""
    partner.send("/a", metadata={"partner": "globex"})
    partner.send("/b")
    receiver.wait_for(2)
    assert receiver.to("/a")[0].headers["X-Partner-Key"] == "k2"
    assert receiver.to("/b")[0].headers["X-Partner-Key"] is None


def test_an_unknown_partner_fails_the_attempt_alone(partner: Stage, receiver: Receiver) -> None:
    """The exception is told, and the consumer goes on."""
    partner.send("/a", metadata={"partner": "nobody"}, max_retries=1)
    ((headers, _, _),) = partner.dead()
    assert headers["taskqueue-error"] == "handler partner: KeyError: 'nobody'"
    partner.send("/b")
    assert receiver.wait_for(1)[0].path == "/b"


def test_a_200_that_says_no_is_a_failure(partner: Stage, receiver: Receiver) -> None:
    """Retried, until the partner says that it is for good."""
    receiver.answer("/a", [Answer(200, body=b'{"ok": false, "error": "busy"}'),
                           Answer(200, body=b'{"ok": false, "error": "gone", "retry": false}')])  # fmt: skip
    partner.send("/a", metadata={"partner": "acme"})
    ((headers, _, _),) = partner.dead()
    assert (headers["taskqueue-error"], headers["taskqueue-runs"]) == ("partner said 'gone'", 2)
    assert receiver.to("/a")[1].headers["Taskqueue-Previous-Error"] == "partner said 'busy'"


def test_a_receipt_is_fetched_as_a_task_of_its_own(partner: Stage, receiver: Receiver) -> None:
    """With an id that follows from the first one's, and the partner's key."""
    receiver.answer("/a", Answer(200, body=b'{"ok": true, "receipt": "/receipt/7"}'))
    task = partner.send("/a", metadata={"partner": "acme"})
    (receipt,) = receiver.wait_for(1, path="/receipt/7")
    assert receipt.json == {"for": task}
    assert receipt.headers["Taskqueue-Id"] == f"{task}.receipt"
    assert receipt.headers["X-Partner-Key"] == "k1"


def test_a_handler_that_lacks_something_is_told_by_check(
    stage: Stage, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not only once tasks are there."""
    stage.configure(handlers="partner")
    monkeypatch.delenv("PARTNER_KEYS", raising=False)
    found = read(stage.path, "check", code=2)["checks"]
    assert "no handler has this name; there are" in next(each["detail"] for each in found if not each["ok"])
    monkeypatch.setenv("PYTHONPATH", str(site))
    found = read(stage.path, "check", code=2)["checks"]
    failed = next(each["detail"] for each in found if not each["ok"])
    assert "handler partner needs PARTNER_KEYS=name=key" in failed
