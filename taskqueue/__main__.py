"""`taskqueue`, and `python -m taskqueue`: the command line."""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Run the command line; a stop of `run` counts as one from the first moment on."""
    if sys.argv[1:2] == ["run"]:
        _heed_early_stops()
    from taskqueue.cli import main as run  # noqa: PLC0415 as slow as all else, and a stop may come meanwhile

    run()


def _heed_early_stops() -> None:
    """End by 0 on a signal that comes before there is anything to stop, and before `run` heeds signals."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # nohup has SIGHUP ignored, and a shell SIGINT of what runs in its background.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(0))


if __name__ == "__main__":
    main()
