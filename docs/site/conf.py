"""The site of the documentation (`make docs`): the same files that the repository shows, with a search."""

# ruff: noqa: INP001 Sphinx reads it as a file
from __future__ import annotations

import re
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygments.lexers.special import TextLexer
from typer.main import get_command
from typer.testing import CliRunner

from taskqueue import cli

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTENTS = HERE / "contents.md"
"""What stands at the left of each page. A page that it does not name fails the build."""

project = "taskqueue"
author = "The taskqueue authors"
version = release = installed("taskqueue")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "examples/README.md", "benchmarks/RESULTS.md"]
exclude_patterns = ["docs/site/contents.md"]
html_theme = "furo"
html_title = "taskqueue"
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = False


def write_commands(_: Sphinx) -> None:
    """Write the page of all commands, as `--help` tells of them."""
    parts = ["# Commands"]
    for name in cli.COMMANDS:
        parts.append(f"## taskqueue {name}\n\n{told(name)}")
        under = getattr(get_command(cli.module(name).commands), "commands", {})
        parts += [f"### taskqueue {name} {each}\n\n{told(name, each)}" for each in under if len(under) > 1]
    (HERE / "commands.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def told(*words: str) -> str:
    """Give what a command says of itself."""
    ran = CliRunner().invoke(cli.app, [*words, "--help"], prog_name="taskqueue", terminal_width=96)
    return f"```text\n{ran.output.strip()}\n```"


def adapt(_: Sphinx, page: str, source: list[str]) -> None:
    """Have the README name all other pages, and write what only a repository can show as Sphinx has it."""
    folder = (ROOT / page).parent

    def link(found: re.Match[str]) -> str:
        # A site has no page of a folder.
        return found[1] if (folder / found[2]).is_dir() else found[0]

    text = re.sub(r"\[([^\]]+)\]\(([^)#]+)\)", link, source[0])
    text = re.sub(r'^<a id="(\w+)"></a>', r"(\1)=\n", text, flags=re.MULTILINE)
    source[0] = text + (CONTENTS.read_text(encoding="utf-8") if page == root_doc else "")


def finish(sphinx: Sphinx, error: Exception | None) -> None:
    """Give the site its front page, and the pictures that are named in HTML."""
    if error is None:
        shutil.copy(sphinx.outdir / f"{root_doc}.html", sphinx.outdir / "index.html")
        for picture in (ROOT / "docs").glob("*.png"):
            shutil.copy(picture, sphinx.outdir / "docs")


def setup(sphinx: Sphinx) -> dict[str, Any]:
    """Register what is to be made of our own files."""
    sphinx.connect("builder-inited", write_commands)
    sphinx.connect("source-read", adapt)
    sphinx.connect("build-finished", finish)
    # The repository draws it, the site shows what it says.
    sphinx.add_lexer("mermaid", TextLexer)
    return {"parallel_read_safe": True}
