"""Files that are there whole, or not at all: written beside their place, synced, renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import BulkError

__all__ = ["create_file_atomically", "remove_leftovers", "write_file_atomically"]

_ENDING = ".partial"


def write_file_atomically(
    path: str | os.PathLike[str], content: bytes | memoryview | Callable[[BinaryIO], None]
) -> None:
    """Write ``content``, or what it writes when it is called with the open file.

    A kill, an error or a full disk leaves the file that was there before as it was; after this
    returns, the new one survives a power failure too.

    Raises:
        BulkError: the disk refuses, in one line that names the file.
    """
    _write(Path(path), content, os.replace)


def create_file_atomically(path: str | os.PathLike[str], content: bytes) -> bool:
    """As `write_file_atomically`; False where another process was quicker, whose file stays."""
    is_first = True

    def put(partial: Path, target: Path) -> None:
        nonlocal is_first
        try:
            _link(partial, target, content)
        except FileExistsError:
            is_first = False
        finally:
            _remove(partial)

    _write(Path(path), content, put)
    return is_first


def _link(partial: Path, target: Path, content: bytes) -> None:
    try:
        os.link(partial, target)  # which fails where there is one, as a rename does not
    except FileExistsError:
        raise
    except (OSError, AttributeError):
        # No links in this file system, or on this system: others may see it half-written.
        with open(target, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def remove_leftovers(folder: Path) -> int:
    """Remove what a kill left half-written in ``folder``; returns how many files that were."""
    leftovers = list(folder.glob(f".*{_ENDING}"))
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    return len(leftovers)


def _write(
    target: Path,
    content: bytes | memoryview | Callable[[BinaryIO], None],
    put: Callable[[Path, Path], None],
) -> None:
    partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_ENDING}")
    try:
        with open(partial, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put(partial, target)
        _sync_directory(target.parent)
    except OSError as error:
        _remove(partial)
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BulkError(
            f"cannot write {target}: {reason}; what was finished before is whole: make room, or "
            "mend the disk, and run the same command again"
        ) from error
    except BaseException:
        _remove(partial)
        raise


def _remove(partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
    except OSError:
        return  # the first error is the one to tell; the next run removes it


def _sync_directory(folder: Path) -> None:
    """The rename itself, on the disk; Windows has no such call, and needs none."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
