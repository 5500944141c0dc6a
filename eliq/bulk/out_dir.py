"""The directory of a run: taken by one command at a time, and never mistaken for another one."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import BulkError
from .atomic import remove_leftovers
from .config import RunConfig
from .fingerprint import RUN_NAME
from .old_run import has_old_run, settle_old_run
from .parts import PARTS, THUMBNAILS
from .plan_items import ITEMS_NAME, NEW_ITEMS_NAME

__all__ = ["check_strangers", "claim_out_dir", "holds_run"]

_LOCK = ".lock"
_BEFORE_PLAN = (ITEMS_NAME, NEW_ITEMS_NAME)  # which a kill may leave without one
_logger = logging.getLogger("eliq")


def holds_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a run was begun in a directory."""
    names = ("plan.json", RUN_NAME, PARTS)
    return has_old_run(folder) or any((Path(folder) / name).exists() for name in names)


def check_strangers(folder: str | os.PathLike[str]) -> None:
    """Refuse a directory that no run has made.

    Raises:
        BulkError: it holds other files, or is itself a file.
    """
    if not os.path.isdir(folder):
        if os.path.lexists(folder):
            raise BulkError(f"{folder}: expected a directory for the result, found a file")
        return
    names = {path.name for path in Path(folder).iterdir() if not path.name.startswith(".")}
    if holds_run(folder):
        return
    # Without a run, what is called as its views are may be somebody's own metadata.jsonl.
    strangers = sorted(names - set(_BEFORE_PLAN))
    if strangers:
        raise BulkError(
            f"{folder}: expected a new or empty directory for the result, found {strangers[0]}"
        )


@contextmanager
def claim_out_dir(config: RunConfig, *, is_child: bool = False) -> Iterator[Path]:
    """Hold the directory while this block runs; what a kill left half-written is removed.

    A run that a killed ``--overwrite`` has set aside is put back, and a warning says so.

    Args:
        config: with more than one process, they hold the directory together, each as its number.
        is_child: this process was started by one that holds the directory for it.

    Raises:
        BulkError: another command holds it, or it holds files that no run has made.
    """
    folder = Path(config.out_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BulkError(f"{folder}: cannot be made: {os.strerror(error.errno or 0)}") from error
    check_strangers(folder)
    with ExitStack() as locks:
        if not is_child:
            # What shares the directory with its like still keeps out a command that wants it alone.
            _lock(locks, folder / _LOCK, is_shared=config.world_size > 1)
        if config.world_size > 1:
            _lock(locks, folder / f"{_LOCK}-{config.rank}")
        else:
            for inner in (folder, folder / PARTS, folder / THUMBNAILS):
                remove_leftovers(inner)
        if not is_child and config.rank == 0 and settle_old_run(folder):
            _logger.warning("%s: an --overwrite was stopped; the run before it is back", folder)
        yield folder
    # The lock files stay: to remove one would let two others hold two different ones.


def _lock(locks: ExitStack, path: Path, *, is_shared: bool = False) -> None:
    """Hold a lock file until ``locks`` are closed; `BulkError` where another process does."""
    try:
        import fcntl
    except ImportError:  # Windows: two runs into one directory are the user's own care
        return
    file = locks.enter_context(open(path, "a"))
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        raise BulkError(
            f"{path.parent}: another eliq run is writing here; wait until it has ended"
        ) from None
