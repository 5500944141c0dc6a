"""Tensors to and from safetensors files, with errors that a user can act on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from eliq.errors import TrainingError

__all__ = ["read_tensors", "replace_tensors", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a new file, not atomically.

    Raises:
        TrainingError: the file system refuses (safetensors does not raise OSError for that).
    """
    try:
        save_file(dict(tensors), str(path))
    except (SafetensorError, OSError) as error:
        raise TrainingError(
            f"cannot write {path}: {error}; what was saved before is whole, so make room or "
            "repair the folder and give the same command again"
        ) from error


def replace_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a file that is either absent, the old one, or whole: temporary, fsync, rename.

    Raises:
        TrainingError: as `write_tensors`; an old file is then as it was.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        write_tensors(temporary, tensors)
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file. Raises TrainingError where it cannot be read."""
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot resume: {path} cannot be read as safetensors") from error
