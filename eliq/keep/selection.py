"""Which images of a run are kept."""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bulk import iterate_rows
from ..errors import BulkError, ConfigError

__all__ = ["Selection", "iterate_kept", "run_folder"]

_WORD = re.compile(r'-?"[^"]+"|\S+')


@dataclass(frozen=True)
class Selection:
    """What an image must have to be kept; the page of the report selects in the same way.

    Attributes:
        min_visual_quality: 0..1, or None.
        min_alignment: 0..1, or None; an image without alignment misses any that is above 0.
        flags: flags, or reasons of a failure, that it must have, all of them.
        without_flags: those that it must not have.
        words: all must occur in its prompt or path; ``-word`` must not, ``"two words"`` stay one.
            Upper and lower case are the same.

    Raises:
        ConfigError: a threshold outside 0..1.
    """

    min_visual_quality: float | None = None
    min_alignment: float | None = None
    flags: tuple[str, ...] = ()
    without_flags: tuple[str, ...] = ()
    words: str = ""

    def __post_init__(self) -> None:
        for name in ("min_visual_quality", "min_alignment"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:  # NaN as well
                raise ConfigError(f"{name}: expected a number from 0 to 1, found {value}")

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the run is kept; one that was not scored never is."""
        if not _is_number(row["visual_quality"]):
            return False
        for name in ("visual_quality", "alignment"):
            minimum = getattr(self, f"min_{name}")
            # 0 asks for nothing, not even for a score.
            if minimum and not (_is_number(row[name]) and row[name] >= minimum):
                return False
        found = {*(row["flags"] or ()), row["error_class"]}
        if not found.issuperset(self.flags) or found.intersection(self.without_flags):
            return False
        return not self.words or self._has_words(row)

    def _has_words(self, row: Mapping[str, Any]) -> bool:
        text = _folded(f"{row['prompt'] or ''}\n{row['path']}/{row['member'] or ''}")
        for match in _WORD.findall(_folded(self.words)):
            word = match.replace('"', "")
            is_unwanted = len(word) > 1 and word.startswith("-")
            if word != "-" and (word[is_unwanted:] in text) == is_unwanted:
                return False
        return True


def iterate_kept(out_dir: str | os.PathLike[str], selection: Selection) -> Iterator[dict[str, Any]]:
    """The rows that are kept, in the order of the run, as dicts; memory does not grow with it.

    Raises:
        BulkError: no run lies there, or a part of it cannot be read.
    """
    run_folder(out_dir)
    for batch in iterate_rows(out_dir):
        for row in batch.to_pylist():
            if selection.keeps(row):
                yield row


def run_folder(out_dir: str | os.PathLike[str]) -> Path:
    """The folder that the paths of a run's rows are relative to.

    Raises:
        BulkError: no run lies in ``out_dir``.
    """
    try:
        run = json.loads((Path(out_dir) / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BulkError(
            f"{os.fspath(out_dir)} is not the directory of a run: it has no run.json"
        ) from error
    folder = run.get("cwd") if isinstance(run, dict) else None
    return Path(folder) if isinstance(folder, str) else Path()


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()
