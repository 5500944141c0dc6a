"""Where the files of a benchmark lie: as published, and as people unpack it."""

from __future__ import annotations

from pathlib import Path

from eliq.errors import EvaluationError

from ..tables import text

__all__ = ["file_in", "folder_with", "plain_name", "root_of"]


def root_of(root: str | Path, name: str) -> Path:
    """The folder of a benchmark.

    Raises:
        EvaluationError: there is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise EvaluationError(f"{name}: expected a folder, found nothing at {root}")
    return root


def file_in(root: Path, *names: str) -> Path:
    """The first of `names` that is a file below `root`; the first of them where none is."""
    found = next((root / name for name in names if (root / name).is_file()), None)
    return found or root / names[0]


def folder_with(root: Path, image_names: list[str], *folders: str) -> Path:
    """The one of `folders` below `root` in which the most of a sheet's images lie.

    Published archives unpack into different names (`file/`, `image/`, `images/`) and mirrors
    rename them. The first wins a tie, so that a message names the published one.
    """
    probe = image_names[:: max(1, len(image_names) // 50)]
    return max(
        (root / folder for folder in folders),
        key=lambda folder: sum((folder / name).is_file() for name in probe),
    )


def plain_name(value: object, sheet: Path) -> str:
    """A file's name as a sheet gives it, which must not point outside the benchmark.

    Raises:
        EvaluationError: an empty cell, or a name with a folder in it.
    """
    name = text(value)
    if name is None or Path(name).name != name or name == "..":
        raise EvaluationError(f"{sheet}: expected the name of an image, found {value!r}")
    return name
