"""SIGTERM and SIGINT as a request that a training loop answers by saving and stopping."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["StopRequest"]


class StopRequest:
    """A context in which SIGTERM or SIGINT sets `requested` instead of ending the process.

    The loop looks at `requested` after each step, saves and leaves; `exit_code` is then 143 or
    130, as a shell expects, else 0. A second signal of the same kind is taken at once by the
    handler that was there before. In a thread other than the main one it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        return 0 if self.signal_number is None else 128 + self.signal_number

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, signal.SIG_DFL if previous is None else previous)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self.signal_number = number
        previous = self._previous.pop(number)
        signal.signal(number, signal.SIG_DFL if previous is None else previous)
