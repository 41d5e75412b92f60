"""Where tables and lines for people go: standard output and standard error, as rich prints them."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console, ConsoleDimensions
from rich.text import Text

_ENDLESS = 100_000


class _Console(Console):
    """A terminal is what is one; everything else gets plain lines, as long as they are."""

    @property
    def is_terminal(self) -> bool:
        """Tell whether people read it."""
        # The one of rich says yes where FORCE_COLOR is set, and a pipe would get a table of 80 columns.
        try:
            file: Any = self.file
            return file is not None and file.isatty()
        except ValueError:
            return False

    @property
    def size(self) -> ConsoleDimensions:
        """Give the room that there is."""
        return super().size if self.is_terminal else ConsoleDimensions(_ENDLESS, super().size.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        # The last column of a table is filled up with blanks.
        self.file.write(re.sub(r" +$", "", captured.get(), flags=re.MULTILINE))
        self.file.flush()


out = _Console(highlight=False)
err = _Console(stderr=True, highlight=False)


def say(text: str, style: str = "") -> None:
    """Print a line on standard error, where a terminal allows in a style."""
    err.print(Text(text, style), soft_wrap=True)
