"""What the processes of one launcher tell one another, by files in the directory of the run.

The first says that its plan is there, and the others that they have scored their share. A launch
that was killed leaves such files behind, and the number of its launcher may come again (in a
container it mostly does): so the first process locks its mark for as long as it lives, and what
the others write names the launch that it belongs to.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ..bulk.config import RunConfig
from ..errors import BulkError
from .output import message

try:
    import fcntl
except ImportError:  # Windows: a launch is known by the number of its launcher alone
    fcntl = None

if TYPE_CHECKING:
    from ..bulk.plan import Plan

__all__ = ["Launch"]

_POLL_S = 0.5
_SAY_AFTER_S = 10.0  # that a process waits, and for what
_PLAN_TIMEOUT_S = 24 * 3600.0  # to list a source; the launcher ends who waits for a failed process


class Launch:
    """One launch, as one of its processes sees it; a context manager.

    Args:
        quiet: say nothing of what is waited for.
    """

    def __init__(self, config: RunConfig, *, quiet: bool = False) -> None:
        self._folder = Path(config.out_dir)
        self._rank, self._others = config.rank, range(1, config.world_size)
        self._quiet = quiet
        self._mark = self._folder / (".planned" if fcntl else f".planned-{os.getppid()}")
        self._token = ""
        self._held = ExitStack()

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *exception: object) -> None:
        self._held.close()

    def plan(self, make: Callable[[], Plan], load: Callable[[], Plan]) -> Plan:
        """The plan: made by the first process, and loaded by the others when it is there.

        Raises:
            BulkError: as ``make`` and ``load``; the first process has made none in a day.
        """
        if self._rank == 0:
            self._forget()  # what an earlier launch has left: nobody else may do so
            plan = make()
            self._announce()
            return plan
        waiting = _Waiting("the first process of the launcher, which lists the source", self._quiet)
        while not (token := self._living_token()):
            if waiting.num_seconds > _PLAN_TIMEOUT_S:
                raise BulkError("the first process has not listed the source")
            waiting.pause()
        self._token = token
        return load()

    def tell_scored(self) -> None:
        """Of another process than the first: its share is done."""
        self._scored(self._rank).touch()

    def wait_for_others(self, check: Callable[[], None]) -> None:
        """Of the first process: until all shares are done; ``check`` may raise meanwhile."""
        waiting: _Waiting | None = None
        # Not until their parts are there: with --retry-failed they are, and are replaced.
        while missing := [n for n in self._others if not self._scored(n).exists()]:
            check()
            numbers = ", ".join(map(str, missing))
            waiting = waiting or _Waiting(
                f"process{'es' if len(missing) > 1 else ''} {numbers} of the launcher, to score "
                "what is theirs",
                self._quiet,
            )
            waiting.pause()
        check()
        self._forget()

    def _scored(self, rank: int) -> Path:
        return self._folder / f".scored-{self._token}-{rank}"

    def _forget(self) -> None:
        for pattern in (".planned*", ".scored-*"):
            for path in self._folder.glob(pattern):
                path.unlink(missing_ok=True)

    def _announce(self) -> None:
        self._token = secrets.token_hex(8)
        beside = self._mark.with_name(f"{self._mark.name}.new")
        if fcntl is None:
            beside.write_text(self._token)
        else:
            file = self._held.enter_context(open(beside, "w"))
            fcntl.flock(file, fcntl.LOCK_EX)  # before anybody can find it
            file.write(self._token)
            file.flush()
        os.replace(beside, self._mark)

    def _living_token(self) -> str | None:
        """What the first process wrote, None where it has written nothing, or is gone."""
        try:
            with open(self._mark) as file:
                return file.read() if fcntl is None or _is_held(file) else None
        except FileNotFoundError:
            return None


def _is_held(file: object) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


class _Waiting:
    """Pauses of one wait; says what for when it takes long."""

    def __init__(self, what: str, quiet: bool) -> None:
        self._what = what
        self._is_said = quiet
        self._start_s = time.monotonic()

    @property
    def num_seconds(self) -> float:
        return time.monotonic() - self._start_s

    def pause(self) -> None:
        if not self._is_said and self.num_seconds > _SAY_AFTER_S:
            message(f"waiting for {self._what}")
            self._is_said = True
        time.sleep(_POLL_S)
