"""`python -m taskqueue` is the command `taskqueue`."""

from __future__ import annotations

from taskqueue.cli import main

if __name__ == "__main__":
    main()
