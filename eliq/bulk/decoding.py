"""Pictures ahead of the model: processes decode, this one takes what they give, in order.

An image that takes too long, or takes its process down, becomes one failed row; the process is
replaced and the images after it are decoded as if nothing had been. How far the workers run ahead
is bounded in bytes, so that the memory a run needs does not grow with the set.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..errors import BulkError
from ..image_checks import ERROR_CLASSES
from ..patches import PatchConfig
from .items import Item
from .worker_process import WorkerDied, WorkerProcess

__all__ = ["BULK_ERROR_CLASSES", "DecodePool", "Decoded"]

BULK_ERROR_CLASSES = ERROR_CLASSES | {"decode_timeout", "decoder_crashed", "damaged_archive"}
_MOST_WAITING = 512  # items given out and not yet taken back
_IN_FLIGHT = 2  # a worker: the next job is there when it has finished one
_START_TIMEOUT_S = 300.0  # torch is slow to import on a busy machine
_MOST_FAILED_STARTS = 3


@dataclass
class Decoded:
    """What came of an item.

    Attributes:
        facts: of `decode_worker.decode_job`; ``error`` is None where ``pixels`` is not.
        pixels: uint8 RGB [3,h,w], at the size at which it is scored.
        thumbnail: a small JPEG.
        ms: that decoding took.
    """

    item: Item
    facts: dict[str, Any]
    pixels: Tensor | None = None
    thumbnail: bytes | None = None
    ms: float = 0.0


@dataclass
class _Shared:
    """What the threads share, under one condition."""

    jobs: deque[tuple[int, Item]] = field(default_factory=deque)
    done: dict[int, Decoded] = field(default_factory=dict)
    num_bytes: int = 0  # of pictures and texts in `done`
    is_closed: bool = False
    error: Exception | None = None


class DecodePool:
    """Worker processes, each with a thread that feeds it; use as a context manager.

    Args:
        workers: processes, started already.
        patches: how the scorer resizes; None = pictures keep their size.
        thumbnails: whether to make them.
        timeout_s: an image that takes longer fails.
        most_ahead_bytes: of pictures and texts that wait to be taken, beyond those being decoded.
    """

    def __init__(
        self,
        workers: list[WorkerProcess],
        *,
        patches: PatchConfig | None,
        thumbnails: bool,
        timeout_s: float,
        most_ahead_bytes: int,
    ) -> None:
        self._options = {
            "patches": None if patches is None else patches.to_json(),
            "thumbnails": thumbnails,
            "timeout_s": timeout_s,
        }
        self._timeout_s = timeout_s
        self._most_ahead_bytes = most_ahead_bytes
        self._shared = _Shared()
        self._changed = threading.Condition()
        self._next = 0
        self._workers = workers
        self._threads = [
            threading.Thread(target=self._serve, args=(worker,), daemon=True)
            for worker in self._workers
        ]
        self._threads.append(threading.Thread(target=self._watch, daemon=True))
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> DecodePool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes at once, whatever they are doing."""
        with self._changed:
            self._shared.is_closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.kill()
        for thread in self._threads:
            thread.join(timeout=10)
        for worker in self._workers:
            worker.wait()

    def stream(self, items: Iterator[Item]) -> Iterator[Decoded]:
        """Every item, decoded, in order. One stream at a time.

        Raises:
            BulkError: no worker can be started.
        """
        taken = self._next
        exhausted = False
        try:
            while True:
                while not exhausted and self._next - taken < _MOST_WAITING:
                    item = next(items, None)
                    if item is None:
                        exhausted = True
                    else:
                        self._give(item)
                if exhausted and taken == self._next:
                    return
                yield self._take(taken)
                taken += 1
        finally:
            if taken < self._next:  # left early: nobody will take the rest
                with self._changed:
                    self._shared.jobs.clear()
                    self._shared.done.clear()
                    self._shared.num_bytes = 0

    def _give(self, item: Item) -> None:
        with self._changed:
            if item.problem is not None:
                self._shared.done[self._next] = _failed(item, "damaged_archive", item.problem)
            else:
                self._shared.jobs.append((self._next, item))
            self._next += 1
            self._changed.notify_all()

    def _take(self, number: int) -> Decoded:
        with self._changed:
            while number not in self._shared.done:
                if self._shared.error is not None:
                    raise self._shared.error
                # With a time limit, so that Ctrl-C is heard on every system.
                self._changed.wait(timeout=1.0)
            decoded = self._shared.done.pop(number)
            self._shared.num_bytes -= _num_bytes(decoded)
            self._changed.notify_all()
        return decoded

    def _serve(self, worker: WorkerProcess) -> None:
        """A thread: keeps one process busy until the pool closes."""
        in_flight: deque[tuple[int, Item]] = deque()
        num_failed_starts = 0
        try:
            while True:
                if not worker.is_ready:
                    try:
                        worker.start(self._options, _START_TIMEOUT_S)
                    except WorkerDied as error:
                        num_failed_starts += 1
                        if self._shared.is_closed:
                            return
                        if num_failed_starts >= _MOST_FAILED_STARTS:
                            raise BulkError(
                                f"a decoding process cannot be started: {error}"
                            ) from error
                        continue
                    num_failed_starts = 0
                    for _, item in in_flight:
                        worker.send(item)
                new = self._next_jobs(in_flight)
                if new is None:
                    return
                try:
                    for number, item in new:
                        in_flight.append((number, item))
                        worker.send(item)
                    facts, pixels, thumbnail = worker.receive(self._timeout_s)
                    number, item = in_flight.popleft()
                    ms = facts.pop("ms")
                    decoded = Decoded(item, facts, _tensor(facts, pixels), thumbnail, ms)
                except WorkerDied as death:
                    number, item = in_flight.popleft()
                    kind = "decode_timeout" if death.is_timeout else "decoder_crashed"
                    decoded = _failed(item, kind, str(death))
                with self._changed:
                    self._shared.done[number] = decoded
                    self._shared.num_bytes += _num_bytes(decoded)
                    self._changed.notify_all()
        except Exception as error:  # handed to whoever takes the pictures, and raised there
            with self._changed:
                self._shared.error = error
                self._changed.notify_all()

    def _next_jobs(self, in_flight: deque[tuple[int, Item]]) -> list[tuple[int, Item]] | None:
        """More jobs for a worker, waiting while it has none; None when the pool closes."""
        with self._changed:
            while True:
                if self._shared.is_closed:
                    return None
                found = []
                while (
                    self._shared.jobs
                    and len(in_flight) + len(found) < _IN_FLIGHT
                    and self._shared.num_bytes < self._most_ahead_bytes
                ):
                    found.append(self._shared.jobs.popleft())
                if found or in_flight:
                    return found
                self._changed.wait()

    def _watch(self) -> None:
        """A thread: ends the processes whose image takes too long."""
        while not self._shared.is_closed:
            now_s = time.monotonic()
            for worker in self._workers:
                worker.kill_if_late(now_s)
            time.sleep(0.05)


def _failed(item: Item, error_class: str, error: str) -> Decoded:
    return Decoded(item, {"flags": [], "error": error, "error_class": error_class})


def _num_bytes(decoded: Decoded) -> int:
    """Of what may be large: the picture, its thumbnail, the text that its file gave."""
    num_bytes = 0 if decoded.pixels is None else decoded.pixels.numel()
    return num_bytes + len(decoded.thumbnail or b"") + sys.getsizeof(decoded.facts.get("prompt"))


def _tensor(facts: dict[str, Any], data: bytearray | None) -> Tensor | None:
    return None if data is None else torch.frombuffer(data, dtype=torch.uint8).view(facts["shape"])
