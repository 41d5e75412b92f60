"""taskqueue with a fixed window, 0 for its own: `python -m benchmarks.peers.prefetch N run --config …`."""

from __future__ import annotations

import sys

from taskqueue.cli import main
from taskqueue.consume.window import Window

if __name__ == "__main__":
    prefetch = int(sys.argv.pop(1))
    if prefetch:
        own = Window.__init__

        def fixed(window: Window, at_once: int) -> None:
            """Make it as large as it is to stay."""
            own(window, at_once)
            window.size = prefetch

        Window.__init__ = fixed  # type: ignore[method-assign, assignment]
        Window.settled = lambda *_, **__: False  # type: ignore[method-assign]
        Window.hoards = lambda *_, **__: False  # type: ignore[method-assign]
    main()
