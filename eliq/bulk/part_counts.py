"""How far the processes of one run have come together: counted in the parts that they have written.

A part's footer is read once, and again only when the part is replaced: a run of a hundred thousand
parts is counted several times a minute.
"""

from __future__ import annotations

import os
from pathlib import Path

from .items import part_numbers
from .parts import PARTS, PartDone, part_facts

__all__ = ["PartCounts"]


class PartCounts:
    """Rows of the finished parts in ``folder``, of all or of other processes.

    Args:
        folder: of the run.
        rank, world_size: units of this process are left out, because it knows more of them; with
            one process none are.
        retry_failed: what failed in parts that are there now is tried again, and counts when
            these are replaced.
    """

    def __init__(
        self, folder: Path, *, rank: int = 0, world_size: int = 1, retry_failed: bool = False
    ) -> None:
        self._folder = folder
        self._rank, self._world_size = rank, world_size
        self._known: dict[str, tuple[tuple[int, int], PartDone | None]] = {}
        self._old: dict[str, tuple[int, int]] = {}
        if retry_failed:
            self.count()
            self._old = {name: identity for name, (identity, _) in self._known.items()}

    def count(self) -> tuple[int, int]:
        """(rows, those of them that failed), as the disk has it now."""
        found: dict[str, tuple[tuple[int, int], PartDone | None]] = {}
        try:
            entries = list(os.scandir(self._folder / PARTS))
        except FileNotFoundError:
            return 0, 0
        for entry in entries:
            name = entry.name.removesuffix(".parquet")
            numbers = None if name == entry.name else part_numbers(name)
            if numbers is None or self._is_own(numbers[0]):
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # a stray, removed meanwhile
            identity = (status.st_ino, status.st_mtime_ns)
            known = self._known.get(name)
            if known is None or known[0] != identity:
                known = identity, part_facts(self._folder, name)
            found[name] = known
        self._known = found
        num_rows = num_failed = 0
        for name, (identity, facts) in found.items():
            if facts is not None:
                is_to_retry = self._old.get(name) == identity
                num_rows += facts.num_rows - (facts.num_failed if is_to_retry else 0)
                num_failed += 0 if is_to_retry else facts.num_failed
        return num_rows, num_failed

    def _is_own(self, unit: int) -> bool:
        return self._world_size > 1 and unit % self._world_size == self._rank
