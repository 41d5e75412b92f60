"""taskqueue with another prefetch than its own: `python -m benchmarks.peers.prefetch N run --config …`."""

from __future__ import annotations

import sys

from taskqueue.cli import main
from taskqueue.consume.subscription import Subscription

if __name__ == "__main__":
    prefetch = int(sys.argv.pop(1))
    Subscription.prefetch = property(lambda _: prefetch)  # type: ignore[assignment, method-assign]
    main()
