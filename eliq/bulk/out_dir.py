"""The directory of a run: taken by one command at a time, and never mistaken for another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import BulkError
from .atomic import remove_leftovers
from .config import RunConfig
from .fingerprint import RUN_NAME
from .parts import PARTS, THUMBNAILS

__all__ = ["OWN_NAMES", "claim_out_dir", "clear_out_dir", "holds_run"]

_LOCK = ".lock"
OWN_NAMES = (
    PARTS, THUMBNAILS, RUN_NAME, "plan.json", "plan.parquet", "plan.new.parquet", "scores.parquet",
    "summary.json", "errors.csv", "metadata.jsonl", "report.html", "report_files", "unfinished",
)  # fmt: skip


def holds_run(folder: str | os.PathLike[str]) -> bool:
    """Whether a run was begun in a directory."""
    return any((Path(folder) / name).exists() for name in ("plan.json", RUN_NAME, PARTS))


@contextmanager
def claim_out_dir(config: RunConfig, *, is_child: bool = False) -> Iterator[Path]:
    """Hold the directory while this block runs; what a kill left half-written is removed.

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
    strangers = [path.name for path in folder.iterdir() if path.name not in (*OWN_NAMES, _LOCK)]
    strangers = [name for name in strangers if not name.startswith(".")]
    if strangers and not holds_run(folder):
        raise BulkError(
            f"{folder}: expected a new or empty directory for the result, found {strangers[0]}"
        )
    with ExitStack() as locks:
        if not is_child:
            # What shares the directory with its like still keeps out a command that wants it alone.
            _lock(locks, folder / _LOCK, is_shared=config.world_size > 1)
        if config.world_size > 1:
            _lock(locks, folder / f"{_LOCK}-{config.rank}")
        else:
            for inner in (folder, folder / PARTS, folder / THUMBNAILS):
                remove_leftovers(inner)
        yield folder
    # The lock files stay: to remove one would let two others hold two different ones.


def clear_out_dir(folder: str | os.PathLike[str]) -> None:
    """Remove the run in a directory, and nothing else that lies there.

    Raises:
        BulkError: something cannot be removed.
    """
    try:
        for name in OWN_NAMES:
            path = Path(folder) / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise BulkError(f"{error.filename}: cannot be removed: {error.strerror}") from error


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
