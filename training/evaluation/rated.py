"""Images that people rated: what every benchmark is read into.

A number that a benchmark does not have is None, never 0: photographs have no prompt and no
alignment, AIGIQA-20K has one opinion score for everything, EvalMuse-40K rates alignment alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eliq.errors import EvaluationError

__all__ = ["OPINIONS", "Counts", "RatedImage", "RatedSet", "collect"]

#: What people were asked; the score of ours that is held against each.
OPINIONS = {"quality": "visual_quality", "alignment": "alignment"}
_NAMED = 20  # missing files and duplicates that a report names one by one


@dataclass(frozen=True)
class RatedImage:
    """One image and what people thought of it.

    Attributes:
        id: its name inside the benchmark, unique there.
        path: the file; it existed when the benchmark was read.
        quality, alignment: mean opinion scores, higher is better, in the benchmark's own range;
            None where nobody was asked.
        prompt: the text it was generated from; None for a photograph.
        generator: the model (and setting) that made it; None where unknown.
        group: images of one group never fall on both sides of a split; None = the prompt, or the
            image alone where there is none.
        split: the benchmark's own split, such as "test".
    """

    id: str
    path: Path
    quality: float | None = None
    alignment: float | None = None
    prompt: str | None = None
    generator: str | None = None
    group: str | None = None
    split: str | None = None

    @property
    def group_key(self) -> str:
        """The label by which rows are split and resampled; spaces and capitals do not count."""
        text = self.group if self.group is not None else self.prompt
        return " ".join(text.casefold().split()) if text else f"image:{self.id}"


@dataclass(frozen=True)
class Counts:
    """What was left out while a benchmark was read, and why.

    Attributes:
        num_listed: rows of the published sheet.
        num_missing: rows whose file is not there; `missing` names the first 20.
        num_repeated: rows that say again what an earlier one said, left out.
        num_conflicting: rows of images that are listed with different scores, all left out, since
            none can be told to be the right one; `conflicting` names the first 20 images.
        num_unrated: rows without a single finite score, left out.
    """

    num_listed: int = 0
    num_missing: int = 0
    num_repeated: int = 0
    num_conflicting: int = 0
    num_unrated: int = 0
    missing: tuple[str, ...] = ()
    conflicting: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class RatedSet:
    """A benchmark, or a part of one, ready to be scored.

    Attributes:
        name: as on the command line, "agiqa_3k".
        rows: in the order of the published sheet.
        counts: what was left out.
    """

    name: str
    rows: tuple[RatedImage, ...]
    counts: Counts = field(default_factory=Counts)

    def __len__(self) -> int:
        return len(self.rows)

    def opinions(self) -> list[str]:
        """Which of quality and alignment people were asked for, in that order."""
        return [name for name in OPINIONS if any(getattr(r, name) is not None for r in self.rows)]

    def only(self, keep: Callable[[RatedImage], bool]) -> RatedSet:
        """The rows for which `keep` says yes."""
        return RatedSet(self.name, tuple(row for row in self.rows if keep(row)), self.counts)


def collect(
    name: str, rows: list[RatedImage], where: Path, *, check_files: bool = True
) -> RatedSet:
    """Rows as they stand in a sheet, without repeats, conflicts, unrated and missing ones.

    An image that is listed twice with the same prompt and scores is kept once; with different ones
    it is left out altogether. `where` is named in messages.

    Raises:
        EvaluationError: no row is left.
    """
    same: dict[str, list[RatedImage]] = {}
    for row in rows:
        same.setdefault(row.id, []).append(row)
    conflicting = [key for key, found in same.items() if any(row != found[0] for row in found)]
    bad = set(conflicting)
    single = [found[0] for key, found in same.items() if key not in bad]
    rated = [row for row in single if row.quality is not None or row.alignment is not None]
    kept = [row for row in rated if not check_files or row.path.is_file()]
    missing = [row.id for row in rated if check_files and not row.path.is_file()]
    counts = Counts(
        num_listed=len(rows),
        num_missing=len(missing),
        num_repeated=sum(len(same[row.id]) - 1 for row in single),
        num_conflicting=sum(len(same[key]) for key in conflicting),
        num_unrated=len(single) - len(rated),
        missing=tuple(missing[:_NAMED]),
        conflicting=tuple(conflicting[:_NAMED]),
    )
    if not kept:
        folders = Counter(str(row.path.parent) for row in rated).most_common(1)
        looked = f"; looked in {folders[0][0]}" if folders else ""
        raise EvaluationError(
            f"{name}: expected rated images in {where}, found {len(rows)} rows of which "
            f"{len(missing)} have no file, {counts.num_conflicting} conflict and "
            f"{counts.num_unrated} have no score{looked}"
        )
    return RatedSet(name, tuple(kept), counts)
