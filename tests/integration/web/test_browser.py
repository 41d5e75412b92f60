"""The page in a real browser: no script of a payload runs, and people can work with it as they need to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.browser import Browser, opened
from tests.support.stage import Stage
from tests.support.visited import TOKEN, served

TAB, ENTER = "\ue004", "\ue007"
HOSTILE = (
    "<script>window.hit=1;alert(1)</script><img src=x onerror=\"window.hit=1\"><svg onload='window.hit=1'>"
    "</pre><a href='javascript:window.hit=1' autofocus onfocus='window.hit=1'>x</a>"
    "<style>body{display:none}</style>"
)
PATH = f"/{HOSTILE.replace(' ', '')}"
PHONE, SCREEN = (360, 740), (1200, 900)
CONTRAST = """
const seen = color => {
  const [r, g, b, a] = color.match(/[\\d.]+/g).map(Number);
  return {r, g, b, a: a === undefined ? 1 : a};
};
const light = c => {
  const part = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  return 0.2126 * part(c.r) + 0.7152 * part(c.g) + 0.0722 * part(c.b);
};
const ground = e => {
  for (; e; e = e.parentElement) {
    const found = seen(getComputedStyle(e).backgroundColor);
    if (found.a > 0) return found;
  }
  return matchMedia('(prefers-color-scheme: dark)').matches ? {r: 0, g: 0, b: 0} : {r: 255, g: 255, b: 255};
};
const poor = [];
for (const e of document.querySelectorAll('body *')) {
  const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.getClientRects().length) continue;
  const style = getComputedStyle(e);
  const text = light(seen(e.closest('svg') ? style.fill : style.color)), back = light(ground(e));
  const ratio = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
  if (ratio < 4.5) poor.push(`${e.tagName} ${e.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
}
return poor;
"""
UNNAMED = """
return [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a, svg[role=img]')]
  .filter(e => !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label'))
  .map(e => e.outerHTML);
"""
LONGEST = """
const sizes = [...document.querySelectorAll('svg.chart .bar')].map(e => e.getBoundingClientRect().width);
return Math.max(...sizes);
"""
STRUCTURE = """
return {
  lang: document.documentElement.lang,
  title: document.title,
  heads: document.querySelectorAll('h1').length,
  main: document.querySelectorAll('main').length,
  scopes: [...document.querySelectorAll('th')].every(e => e.scope),
  ids: [...document.querySelectorAll('[id]')].map(e => e.id),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
};
"""


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Give a browser."""
    with opened() as browser:
        yield browser


def test_people_work_with_it_and_no_payload_runs_a_script(
    staged: Callable[..., Stage], browser: Browser
) -> None:
    """From the log in to a cancel, with hostile tasks; on screen and phone, light and dark, by keys alone."""
    stage = staged(resolution=1)
    for name in ("a", "b"):
        stage.send(f"/orders/{name}", id=name, countdown=600)
    hostile: dict[str, Any] = {"text": HOSTILE, HOSTILE: HOSTILE}
    stage.send(PATH, id=HOSTILE[:200], countdown=700, payload=hostile, metadata=hostile)
    with served(stage.settings) as visitor:
        browser.size(*SCREEN)
        # Given somebody who follows a link, and is asked for the token first
        browser.open(f"{visitor.base}/queues/{stage.name}/waiting?look=yes")
        looked_over(browser)
        browser.find("#token").type(TOKEN)
        browser.find("#name").type("ann")
        browser.find("main form button").follow()
        # Then the tasks are there, hostile ones too, and each can be opened
        done(browser)
        assert "/orders/a" in browser.find("main").text
        looked_over(browser)
        browser.find("tbody tr:last-child a.id").follow()
        done(browser)
        assert "alert(1)" in browser.find("pre").text
        assert browser.find("h1").text.startswith("Task <script>")
        looked_over(browser)
        # When some are cancelled, a condition says which, and a count stands before it
        browser.open(f"{visitor.base}/queues/{stage.name}/waiting?look=yes&url=/orders/*")
        done(browser)
        browser.find("input[name=act][value=cancel]").click()
        browser.find("form[method=post].panel button").follow()
        done(browser)
        assert "Cancel 2 of 3 waiting tasks" in browser.find(".question").text
        looked_over(browser)
        browser.find("main form button").follow()
        done(browser)
        assert "2 cancelled" in browser.find(".notice").text
        looked_over(browser)
        assert stage.waiting() == 1
        # And all of it by keys: the first one leads past what every page has
        browser.open(visitor.base + "/")
        looked_over(browser)
        browser.press(TAB)
        assert browser.run("return document.activeElement.textContent") == "Skip to the content"
        browser.press(ENTER)
        browser.wait_for("document.activeElement.id === 'main'")
        focused(browser, stage.name)
        browser.follow(lambda: browser.press(ENTER))
        assert browser.find("h1").text.startswith(stage.name)
        looked_over(browser)
        assert browser.run(LONGEST) > 0


def looked_over(browser: Browser) -> None:
    """See that a page is whole, and can be read, in both schemes and sizes."""
    assert not browser.alerts()
    assert browser.run("return window.hit") is None
    # The page of the entrance is a 401, which the console counts as an error.
    complaints = [each for each in browser.complaints() if "401 (Unauthorized)" not in each]
    assert complaints == []
    found = browser.run(STRUCTURE)
    assert (found["lang"], found["heads"], found["main"], found["scopes"]) == ("en", 1, 1, True)
    assert len(found["ids"]) == len(set(found["ids"])), found["ids"]
    assert found["title"].endswith("taskqueue")
    assert browser.run(UNNAMED) == []
    grounds = []
    for scheme in ("dark", "light"):
        browser.prefer(scheme)
        assert browser.run(CONTRAST) == []
        grounds.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]
    browser.size(*PHONE)
    assert browser.run(STRUCTURE)["overflow"] <= 0
    browser.size(*SCREEN)


def done(browser: Browser) -> None:
    """Wait for the end of what was asked for: the page asks again by itself."""
    browser.wait_for("!document.querySelector('meta[http-equiv=refresh]')")


def focused(browser: Browser, text: str) -> None:
    """Go on by keys to a link, and see that where one is can be seen."""
    for _ in range(30):
        browser.press(TAB)
        if browser.run("return document.activeElement.textContent") == text:
            break
    outline = browser.run(
        "const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth"
    )
    assert outline == "solid3px"
