"""Every link from one page of the documentation to another leads somewhere, and its picture is true."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.support.situations import anchor

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    each
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "benchmarks/*.md", "deploy/**/*.md")
    for each in ROOT.glob(pattern)
    if each.name != "commands.md"
)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
_CODE = re.compile(r"^(```|~~~).*?^\1$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Give what a link into a page may name."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {anchor(heading) for heading in headings} | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To a file or folder of the repository, and to a heading that is there."""
    for path, heading in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if heading:
            assert heading in anchors(target), f"{path}#{heading}"


def test_the_site_names_every_page() -> None:
    """In its contents, which `make docs` holds too; that needs more than the tests have."""
    contents = (ROOT / "docs" / "site" / "contents.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^[\w/.-]+$", contents, re.MULTILINE)) - {"docs/site/commands"}
    pages = {str(page.relative_to(ROOT).with_suffix("")) for page in PAGES if page.name != "contents.md"}
    each_by_a_star = {page for page in pages if page.startswith("docs/coming-from/")}
    assert named | each_by_a_star == pages - {"README"}


def test_the_picture_of_the_ladder_is_that_of_the_plan() -> None:
    """As `python docs/site/ladder.py >docs/ladder.svg` draws it."""
    drawn = runpy.run_path(str(ROOT / "docs" / "site" / "ladder.py"))["picture"]()
    assert (ROOT / "docs" / "ladder.svg").read_text(encoding="utf-8") == drawn
