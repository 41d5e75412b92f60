"""The limit of the machine: threads that make requests with urllib3 in a loop, and no broker."""

from __future__ import annotations

import sys
import threading

import urllib3


def main(url: str, threads: int, requests: int) -> None:
    """Make `requests` requests in `threads` threads."""
    pool = urllib3.PoolManager(maxsize=threads)

    def loop(count: int) -> None:
        for _ in range(count):
            answer = pool.request("POST", url, body=b"{}", headers={"Content-Type": "application/json"})
            if answer.status != 200:  # noqa: PLR2004 the status that is success
                raise RuntimeError(f"status {answer.status}")

    running = [threading.Thread(target=loop, args=(requests // threads,)) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
