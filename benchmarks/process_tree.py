"""Memory and processor time of a process and of all that it starts, and of all others. Linux."""

from __future__ import annotations

import math
import os
import threading
import time
from pathlib import Path

__all__ = ["MemoryWatch", "OtherLoad", "descendants"]

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


class OtherLoad:
    """While this context is open, how many processor cores all other processes use on average.

    ``cores`` is NaN where the system does not tell. A process of one's own that ends within counts
    as another.
    """

    def __init__(self) -> None:
        self.cores = math.nan

    def __enter__(self) -> OtherLoad:
        self._start_s, self._before = time.monotonic(), _other_cpu_s()
        return self

    def __exit__(self, *exception: object) -> None:
        elapsed_s = time.monotonic() - self._start_s
        self.cores = max(0.0, _other_cpu_s() - self._before) / elapsed_s


class MemoryWatch:
    """While this context is open, how much a process tree holds at most.

    Resident bytes, added up over the processes: what they share counts once for each.
    """

    def __init__(self, pid: int, *, every_s: float = 0.1) -> None:
        self._pid, self._every_s = pid, every_s
        self._stopped = threading.Event()
        self._tree = self._largest = self._main = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def peaks_mib(self) -> dict[str, float]:
        """Of the tree, of its largest other process, and of the process itself."""
        return {
            "peak_tree_mib": round(self._tree / (1 << 20)),
            "peak_main_mib": round(self._main / (1 << 20)),
            "peak_other_mib": round(self._largest / (1 << 20)),
        }

    def _watch(self) -> None:
        while not self._stopped.wait(self._every_s):
            held = {pid: _resident(pid) for pid in descendants(self._pid)}
            self._tree = max(self._tree, sum(held.values()))
            self._main = max(self._main, held.pop(self._pid, 0))
            self._largest = max([self._largest, *held.values()])


def _other_cpu_s() -> float:
    """Processor seconds since the machine began, without those of this process and its own."""
    try:
        # user, nice, system, (idle, waiting,) interrupts, soft ones
        fields = [int(one) for one in Path("/proc/stat").read_text().split("\n")[0].split()[1:8]]
        ticks = sum(fields) - fields[3] - fields[4]
        for pid in descendants(os.getpid()):
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
            ticks -= int(stat[11]) + int(stat[12])
        return ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return math.nan


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
