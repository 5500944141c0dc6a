"""Where a checkpoint is saved: written and synced beside its place, then renamed into it."""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .config import CARD_NAME, CONFIG_NAME, TOKENIZER_NAME
from .safetensors_checks import read_json

__all__ = ["CheckpointPlace", "write_config"]


@dataclass(frozen=True)
class CheckpointPlace:
    """A directory that is new, empty, or holds a checkpoint that may be replaced.

    Attributes:
        target: absolute path.
        is_replacing: there is a checkpoint.
    """

    target: Path
    is_replacing: bool

    @classmethod
    def at(cls, directory: str | os.PathLike[str], *, format: str) -> CheckpointPlace:
        """The place; ``format`` is that of the checkpoints which may be replaced there.

        Raises:
            CheckpointError: ``directory`` exists and is something else.
        """
        target = Path(directory).expanduser().absolute()
        return cls(target, _is_replaceable(target, format))

    def fill(self, write: Callable[[Path], None]) -> None:
        """Let ``write`` put the files into a new directory, then rename that into place.

        There is never a mixture of two checkpoints. A kill between the two renames of a
        replacement leaves the old one whole, as ``.<name>.<writer>.old`` beside; what a killed
        writer of this machine left half done is removed by the next. Files of an old checkpoint
        that are not ours (a licence, a figure) are kept.

        Raises:
            CheckpointError: it cannot be written.
        """
        target = self.target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _forget_killed(target)
            writer = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
            partial = target.parent / f".{target.name}.{writer}.partial"
            partial.mkdir()
            try:
                write(partial)
                self._move_in(partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise CheckpointError(
                f"expected to write a checkpoint to {target}, found {error.strerror or 'a failure'}"
                ": free space or choose another directory"
            ) from error

    def _move_in(self, partial: Path) -> None:
        target = self.target
        if self.is_replacing:
            _keep_others(target, partial)
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if self.is_replacing:
            old = partial.with_suffix(".old")
            target.rename(old)
            try:
                partial.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            partial.rename(target)
        _sync(target.parent)


def _host() -> str:
    return re.sub("[^A-Za-z0-9]", "", platform.node())[:40] or "host"


def _forget_killed(target: Path) -> None:
    """Removes what writers of this place left that were killed: only of this machine, and dead."""
    if os.name != "posix":  # elsewhere a signal 0 is no question
        return
    for left in target.parent.glob(f".{glob.escape(target.name)}.{_host()}-*-*.partial"):
        found = re.search(r"-([0-9]+)-[0-9a-f]{8}\.partial$", left.name)
        try:
            os.kill(int(found[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (OSError, TypeError, OverflowError):
            continue  # somebody else's that runs, or no name of ours


def write_config(directory: Path, config: dict[str, Any], *, weight_files: Iterable[str]) -> None:
    """Write config.json, and give the weight files its permissions."""
    path = directory / CONFIG_NAME
    text = json.dumps(config, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8")
    for name in weight_files:  # safetensors writes for the owner alone; a shared model is for all
        (directory / name).chmod(path.stat().st_mode)


def _is_replaceable(target: Path, format: str) -> bool:
    """Whether ``target`` is a checkpoint to replace; False when it does not exist or is empty."""
    if not target.exists() and not target.is_symlink():
        return False
    if target.is_dir() and not target.is_symlink():
        if not any(target.iterdir()):
            target.rmdir()
            return False
        try:
            if read_json(target / CONFIG_NAME).get("format") == format:
                return True
        except CheckpointError:
            pass  # said below, for the directory as a whole
    raise CheckpointError(
        f"expected {target} to be new, empty or a checkpoint of eliq, found something else: "
        "choose another directory"
    )


def _keep_others(old: Path, new: Path) -> None:
    for path in old.iterdir():
        ours = path.name in (CONFIG_NAME, TOKENIZER_NAME, CARD_NAME)
        if ours or (path.name.startswith("model") and path.suffix == ".safetensors"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _sync(path: Path) -> None:
    """fsync a file or directory (on Windows a directory cannot be opened, nor needs to be)."""
    if path.is_symlink() or (path.is_dir() and os.name == "nt"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
