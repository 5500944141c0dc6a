"""Progress of a long step: a bar on a terminal, now and then a line in a log elsewhere.

A run whose output goes to a file would otherwise be silent for as long as its longest step takes.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from tqdm import tqdm

__all__ = ["StepLines"]

log = logging.getLogger("eliq")


class StepLines:
    """Counts `total` things; says at the beginning how many there are and were done before.

    Without a terminal a line comes after each minute, and after each tenth of the work where that
    is no more than one in five seconds: the step, what `update` was told, the time left.

    Args:
        name: such as "stage 1". unit: such as "steps". done: those of an earlier run.
        shown: False = neither bar nor lines.
    """

    every_s = 60.0
    least_s = 5.0

    def __init__(
        self, name: str, total: int, *, unit: str = "steps", done: int = 0, shown: bool = True
    ) -> None:
        self.name, self.total, self.unit, self.done = name, total, unit, done
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._writes = shown and not self._is_terminal
        self._bar = tqdm(
            total=total, initial=done, desc=name, disable=not (shown and self._is_terminal)
        )
        self._first, self._start = done, time.monotonic()
        self._said_at, self._said_done = self._start, done
        if self._writes:
            before = "all done before" if done >= total else f"{done} done before"
            log.info("%s: %d %s%s", name, total, unit, f", {before}" if done else "")

    def update(self, number: int = 1, **values: str) -> None:
        """`number` more are done; `values` are shown beside, such as loss="0.41"."""
        self.done += number
        self._bar.update(number)
        if values:
            self._bar.set_postfix(**values)
        if not self._writes or self.done >= self.total:
            return
        now = time.monotonic()
        waited, tenth = now - self._said_at, self.done - self._said_done >= self.total / 10
        if waited >= self.every_s or (tenth and waited >= self.least_s):
            self._said_at, self._said_done = now, self.done
            left = (now - self._start) / (self.done - self._first) * (self.total - self.done)
            said = "".join(f", {key.replace('_', ' ')} {value}" for key, value in values.items())
            log.info("%s: %d of %d %s%s, about %s left", self.name, self.done, self.total,
                     self.unit, said, _duration(left))  # fmt: skip

    def close(self) -> None:
        self._bar.close()

    def __enter__(self) -> StepLines:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _duration(seconds: float) -> str:
    """Such as 40 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
