"""What processes cost, read from /proc: CPU seconds and resident memory."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used so far, and MiB resident now."""

    cpu: float
    memory: float


def usage(*roots: int) -> Usage:
    """Add up the processes of `roots` and all that descend from them (proc_pid_stat(5))."""
    cpu = memory = 0.0
    for fields in _family(roots):
        # utime and stime; those of children that have ended count for their parent.
        cpu += sum(int(field) for field in fields[11:15]) / _TICK
        memory += int(fields[21]) * _PAGE / _MIB
    return Usage(cpu, memory)


def machine_cpu() -> float:
    """Give the CPU seconds that all processes together used since the machine was started (proc_stat(5))."""
    user, nice, system, _idle, _disk, *interrupts = (
        Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return sum(int(each) for each in (user, nice, system, *interrupts)) / _TICK


def family(*roots: int) -> list[int]:
    """List the process ids of `roots` and of all that descend from them."""
    return [int(fields[-1]) for fields in _family(roots)]


def private_memory(pid: int) -> float:
    """Give the MiB that only this process holds, and would give back by ending (smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _family(roots: Iterable[int]) -> Iterator[list[str]]:
    children: dict[int, list[list[str]]] = defaultdict(list)
    known: dict[int, list[str]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        # The name, in brackets, may hold anything.
        fields = [*line[line.rindex(")") + 2 :].split(), entry.name]
        known[int(entry.name)] = fields
        children[int(fields[1])].append(fields)
    left = [known[root] for root in roots if root in known]
    while left:
        fields = left.pop()
        yield fields
        left += children[int(fields[-1])]
