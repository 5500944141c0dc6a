"""The run that ``--overwrite`` replaces: set aside until the new one has its plan and its critic.

A device that is not there, a checkpoint that does not load, Ctrl-C: none of them may cost a result.
The old run is moved by renames within its directory, and is removed when the new one has written
its ``run.json``, which it does when the critic is loaded. A kill may fall between any two steps;
`settle_old_run` then ends what was begun.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import BulkError
from .fingerprint import RUN_NAME
from .parts import PARTS, THUMBNAILS
from .plan_items import ITEMS_NAME, NEW_ITEMS_NAME

__all__ = ["OldRun", "clear_out_dir", "has_old_run", "settle_old_run"]

_OWN_NAMES = (
    PARTS, THUMBNAILS, RUN_NAME, "plan.json", ITEMS_NAME, NEW_ITEMS_NAME, "scores.parquet",
    "summary.json", "errors.csv", "metadata.jsonl", "report.html", "report_files", "unfinished",
)  # fmt: skip
_ASIDE = ".old-run"  # the whole of it
_MOVING = ".old-run.moving"  # some of it, the rest is still, or again, in its place
_REMOVED = ".old-run.removed"


class OldRun:
    """The run in ``folder``, aside while this block runs; a context manager.

    Attributes:
        is_back: it was put back in the end, because the new one has loaded no critic.

    Raises:
        BulkError: it cannot be moved, or removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_settled = False
        self.is_back = False

    def __enter__(self) -> OldRun:
        try:
            self._set_aside()
        except BaseException:
            settle_old_run(self._folder)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.is_back = settle_old_run(self._folder)

    def watched(self, observer: Callable[[Any], None]) -> Callable[[Any], None]:
        """``observer``, and the old run removed as soon as the new one has its critic."""

        def observe(progress: Any) -> None:
            if not self._is_settled and (self._folder / RUN_NAME).exists():
                self._is_settled = True
                settle_old_run(self._folder)
            observer(progress)

        return observe

    def _set_aside(self) -> None:
        moving = self._folder / _MOVING
        try:
            moving.mkdir()
            for name in _OWN_NAMES:
                if os.path.lexists(self._folder / name):
                    os.rename(self._folder / name, moving / name)
            os.rename(moving, self._folder / _ASIDE)
        except OSError as error:
            raise BulkError(f"{error.filename}: cannot be set aside: {error.strerror}") from error


def has_old_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a run was set aside in a directory, and nobody has settled what becomes of it."""
    return any((Path(folder) / name).exists() for name in (_ASIDE, _MOVING))


def settle_old_run(folder: Path) -> bool:
    """Remove what was set aside, or put it back where no critic of the new run was loaded.

    Returns:
        Whether it was put back.

    Raises:
        BulkError: something cannot be moved or removed.
    """
    aside, moving, removed = (folder / name for name in (_ASIDE, _MOVING, _REMOVED))
    try:
        if aside.exists() and (folder / RUN_NAME).exists():
            os.rename(aside, removed)
        if removed.exists():
            shutil.rmtree(removed)
        if aside.exists():
            clear_out_dir(folder)  # a plan, and nothing that took long
            os.rename(aside, moving)
        if not moving.exists():
            return False
        for path in moving.iterdir():
            os.rename(path, folder / path.name)
        moving.rmdir()
    except OSError as error:
        raise BulkError(f"{error.filename}: cannot be put back: {error.strerror}") from error
    return True


def clear_out_dir(folder: str | os.PathLike[str]) -> None:
    """Remove the run in a directory, and nothing else that lies there.

    Raises:
        BulkError: something cannot be removed.
    """
    try:
        for name in _OWN_NAMES:
            path = Path(folder) / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise BulkError(f"{error.filename}: cannot be removed: {error.strerror}") from error
