"""A headless Chromium, driven by the W3C's WebDriver protocol: nothing is needed for that but HTTP."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from sandbox.broker import free_ports
from tests.support.stage import PATIENCE, eventually

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Element:
    """An element of the page that is open."""

    def __init__(self, browser: Browser, found: str) -> None:
        self._browser = browser
        self._found = found

    @property
    def text(self) -> str:
        """The text that can be seen."""
        return str(self._browser.ask("GET", f"element/{self._found}/text"))

    def click(self) -> None:
        """Click it."""
        self._browser.ask("POST", f"element/{self._found}/click", {})

    def follow(self) -> None:
        """Click it, and wait for the page that follows."""
        self._browser.follow(self.click)

    def type(self, text: str) -> None:
        """Type into it."""
        self._browser.ask("POST", f"element/{self._found}/value", {"text": text})


class Browser:
    """One window of a browser, with the size of a screen or of a phone."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._pool = urllib3.PoolManager(timeout=PATIENCE, retries=False)
        self._session = ""

    def begin(self, binary: str, folder: str) -> None:
        """Start the browser; it is that of nobody, and may run as root as it opens only our pages."""
        arguments = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--no-first-run", f"--user-data-dir={folder}",
            "--proxy-server=direct://", "--hide-scrollbars", "--disable-component-update",
            # Whatever else it would ask the network for on its own account has no address.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]  # fmt: skip
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": binary, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
            "unhandledPromptBehavior": "ignore",
        }
        found = self._send("POST", "session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"session/{found['sessionId']}"

    def ask(self, method: str, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a command of the protocol, and give its value; raises AssertionError with its error."""
        return self._send(method, f"{self._session}/{what}", body)

    def end(self) -> None:
        """Close it."""
        if self._session:
            with suppress(AssertionError, urllib3.exceptions.HTTPError):
                self._send("DELETE", self._session)

    def open(self, url: str) -> None:
        """Open a page."""
        self.ask("POST", "url", {"url": url})

    def follow(self, act: Callable[[], object]) -> None:
        """Do what leads to another page, and wait for that: a driver may answer before the browser leaves."""
        self.run("window.left = false")
        act()
        self.wait_for("window.left === undefined && document.readyState === 'complete'")

    def wait_for(self, condition: str) -> None:
        """Wait until the page that is open fulfils a condition in JavaScript."""

        def holds() -> bool:
            try:
                return bool(self.run(f"return {condition}"))
            except AssertionError:
                # The page has been left meanwhile.
                return False

        eventually(holds, condition)

    def find(self, selector: str) -> Element:
        """Find the first element by a selector of CSS."""
        found = self.ask("POST", "element", {"using": "css selector", "value": selector})
        return Element(self, found[_ELEMENT])

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script of ours in the page, whatever its policy says, and give what it returns."""
        return self.ask("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def size(self, width: int, height: int) -> None:
        """Show pages as on a screen of this size."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.control("Emulation.setDeviceMetricsOverride", **metrics)
        self.wait_for(f"window.innerWidth === {width}")

    def prefer(self, scheme: str) -> None:
        """Prefer ``light`` or ``dark``."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.control("Emulation.setEmulatedMedia", features=features)

    def control(self, command: str, **parameters: Any) -> Any:
        """Send a command of the browser's own protocol."""
        return self.ask("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def press(self, key: str) -> None:
        """Press a key."""
        actions = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        self.ask("POST", "actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def complaints(self) -> list[str]:
        """Give what the console has: what a policy refused, and what could not be loaded."""
        return [each["message"] for each in self.ask("POST", "se/log", {"type": "browser"})]

    def alerts(self) -> bool:
        """Tell whether a script of somebody has opened a dialog."""
        answer = self._pool.request("GET", f"{self._base}/{self._session}/alert/text")
        return answer.status == 200

    def picture(self, file: Path) -> None:
        """Write what can be seen to a PNG."""
        file.write_bytes(base64.b64decode(self.ask("GET", "screenshot")))

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = self._pool.request(method, f"{self._base}/{path}", json=body)
        value = answer.json()["value"]
        assert answer.status == 200, f"{path}: {value.get('error')}: {str(value.get('message'))[:500]}"
        return value


@contextmanager
def opened() -> Iterator[Browser]:
    """Give a browser while the context lasts; none is a failure in CI, and else a skip."""
    binary = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        why = "no chromium with a chromedriver: run `make browser`"
        if "CI" in os.environ:
            pytest.fail(why)
        pytest.skip(why)
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="taskqueue-browser-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "driver.log"
        with subprocess.Popen(
            [driver, f"--port={port}", f"--log-path={log}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": folder}, start_new_session=True,
        ) as process:  # fmt: skip
            browser = Browser(f"http://127.0.0.1:{port}")
            try:
                eventually(lambda: _is_ready(browser), "the driver is ready")
                browser.begin(binary, f"{folder}/profile")
                yield browser
            finally:
                browser.end()
                process.terminate()
                process.wait(PATIENCE)


def _is_ready(browser: Browser) -> bool:
    try:
        return bool(browser._send("GET", "status")["ready"])
    except (urllib3.exceptions.HTTPError, AssertionError):
        return False
