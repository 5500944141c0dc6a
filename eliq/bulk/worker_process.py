"""One decoding process as the run sees it: send an item, receive a picture, or learn that it died.

A plain subprocess rather than one of multiprocessing: it imports neither the user's script nor
pickles, and it starts the same way on every system.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..image_checks import MAX_IMAGE_PX
from .items import Item

__all__ = ["WorkerDied", "WorkerProcess"]

_MOST_HEADER_BYTES = 4 << 20  # a prompt of 100,000 characters takes 1.2 MB in JSON's escapes
_PATIENCE = 6  # times the limit, for an image whose process hardly gets a core, or waits for a disk
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from {package}.decode_worker import serve; serve()"
)


class WorkerDied(Exception):
    """The process is gone: ``is_timeout`` tells whether it was ended for being late."""

    def __init__(self, text: str, *, is_timeout: bool = False) -> None:
        super().__init__(text)
        self.is_timeout = is_timeout


class WorkerProcess:
    """A process that decodes, used by one thread; `kill` and `kill_if_late` by any.

    It starts importing at once, so that this runs beside the loading of a model.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the process and its deadline
        self._deadline_s = math.inf
        self._patience_s = math.inf
        self._cpu_limit_s = math.inf
        self._is_late = False
        self._is_killed = False
        self.is_ready = False
        self._process = self._popen()

    def start(self, options: dict[str, Any], timeout_s: float) -> None:
        """Wait until the process, a new one where the old one died, has imported what it needs.

        Args:
            options: of `decode_worker.serve`.

        Raises:
            WorkerDied: it ended instead.
        """
        if self._process.poll() is not None:
            with self._lock:
                if self._is_killed:
                    raise WorkerDied("it was ended")
                self._process = self._popen()
        self._set_deadline(timeout_s)
        try:
            self._process.stdin.write(json.dumps(options).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline(_MOST_HEADER_BYTES)
        except OSError:
            line = b""
        self._set_deadline(None)
        if line != b"{}\n" or self._is_late:
            self._end()
            raise WorkerDied(f"it ended with status {self._process.returncode} while starting")
        self.is_ready = True

    def send(self, item: Item) -> None:
        """Give the process an item; what is wrong shows when its answer is received."""
        job = {
            "path": item.path,
            "offset": item.offset,
            "size": item.size,
            "has_sidecar": item.has_sidecar,
            "wants_prompt": item.prompt is None,
        }
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return

    def receive(self, timeout_s: float) -> tuple[dict[str, Any], bytearray | None, bytes | None]:
        """The answer to the oldest item: facts, picture or None, thumbnail or None.

        Raises:
            WorkerDied: it crashed, gave no answer in time, or gave one that makes no sense.
        """
        start_s = time.monotonic()
        self._set_deadline(timeout_s)
        try:
            facts = json.loads(self._process.stdout.readline(_MOST_HEADER_BYTES))
            num_bytes, num_thumbnail_bytes = (
                facts.pop("num_bytes"),
                facts.pop("num_thumbnail_bytes"),
            )
            shape = facts.get("shape") if num_bytes else None
            if num_bytes and (num_bytes != math.prod(shape) or num_bytes > 3 * MAX_IMAGE_PX):
                raise ValueError("a picture of another size than it says")
            picture = self._read(num_bytes) if num_bytes else None
            thumbnail = bytes(self._read(num_thumbnail_bytes)) if num_thumbnail_bytes else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._end()
            if self._is_late:
                elapsed_s = time.monotonic() - start_s
                raise WorkerDied(
                    f"decoding took more than {elapsed_s:.0f} s", is_timeout=True
                ) from None
            code = self._process.returncode
            raise WorkerDied(f"the image took its decoder down (status {code})") from None
        finally:
            self._set_deadline(None)
        if self._is_late:  # it answered while its time ended: the next item needs another process
            self._end()
        return facts, picture, thumbnail

    def kill_if_late(self, now_s: float) -> None:
        """End the process if its deadline is over.

        On a machine with more to do than it has cores, a process that got no core is not hung: it
        is given time, where the system tells how much it has computed.
        """
        with self._lock:
            if now_s <= self._deadline_s:
                return
            spent_s = _cpu_s(self._process.pid)
            is_starved = spent_s is not None and spent_s < self._cpu_limit_s
            if is_starved and now_s <= self._patience_s:
                return
            self._is_late = True
            self._deadline_s = math.inf
            self._process.kill()

    def kill(self) -> None:
        """End the process, for good."""
        with self._lock:
            self._is_killed = True
            self._process.kill()

    def wait(self) -> None:
        """Until the process that was ended is gone."""
        self._process.wait()
        self._close_pipes()

    def _popen(self) -> subprocess.Popen:
        self._is_late = False
        return subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-c",
                _START.format(package=__package__),
                json.dumps([path for path in sys.path if path]),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders of other libraries complain there
        )

    def _read(self, num_bytes: int) -> bytearray:
        data = bytearray(num_bytes)
        view, filled = memoryview(data), 0
        while filled < num_bytes:
            count = self._process.stdout.readinto(view[filled:])
            if not count:
                raise OSError("the end")
            filled += count
        return data

    def _set_deadline(self, timeout_s: float | None) -> None:
        with self._lock:
            if timeout_s is None:
                self._deadline_s = math.inf
                return
            now_s = time.monotonic()
            self._deadline_s = now_s + timeout_s
            self._patience_s = now_s + _PATIENCE * timeout_s
            self._cpu_limit_s = (_cpu_s(self._process.pid) or 0.0) + timeout_s / 2

    def _end(self) -> None:
        self.is_ready = False
        self._process.kill()
        self._process.wait()
        self._close_pipes()

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()
            except OSError:
                continue  # what was still to be written has nobody to go to


def _cpu_s(pid: int) -> float | None:
    """Processor time that a process has had; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
