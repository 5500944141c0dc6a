"""What best-of-N and re-roll give back: every candidate, and which one is the best.

A number that does not exist is NaN in an attribute and null in JSON.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contact_sheet import SheetEntry, write_contact_sheet
from ..errors import DiffusionError
from .pixels import save_image
from .ranking import rank_order

__all__ = ["BestOfNResult", "Candidate", "RerollResult"]


@dataclass(frozen=True, eq=False)
class Candidate:
    """One image that was generated, or that was on its way when it was pruned.

    Attributes:
        index: its place in the order of generation, from 0.
        prompt: what it was scored with.
        seed: of its own generator.
        image: PIL image or float tensor [3,H,W] in [0,1]; None if it was not kept.
        visual_quality: 0..1, higher is better; NaN if it was not scored or was pruned.
        alignment: 0..1, higher is better; NaN as above, or without a prompt.
        score: what candidates are ranked by, NaN = last.
        flags: short words of the scorer, and ``nsfw_content_detected`` of a safety checker.
        error: one line that says why it was not scored, or None.
        record: all that makes this image again, plain JSON; see `regenerate`.
        pruned_at: fraction of the schedule after which it was dropped, or None.
        previews: what it scored on the way: dicts with ``fraction``, ``visual_quality``,
            ``alignment`` and ``score``.
    """

    index: int
    prompt: str
    seed: int
    image: Any
    visual_quality: float
    alignment: float
    score: float
    flags: tuple[str, ...] = ()
    error: str | None = None
    record: dict[str, Any] | None = None
    pruned_at: float | None = None
    previews: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Everything but the image, as a dict that ``json.dumps`` accepts."""
        facts = {
            "index": self.index,
            "seed": self.seed,
            "visual_quality": self.visual_quality,
            "alignment": self.alignment,
            "score": self.score,
            "flags": list(self.flags),
            "error": self.error,
            "pruned_at": self.pruned_at,
            "previews": [dict(preview) for preview in self.previews],
            "record": self.record,
        }
        return without_nan(facts)


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Candidates of one prompt, in the order of generation."""

    candidates: tuple[Candidate, ...]
    prompt: str
    sorted_by: str

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    @property
    def ranked(self) -> list[Candidate]:
        """Best first; of those that were pruned the last to go first; unscored ones last."""
        return [self.candidates[i] for i in _order(self.candidates)]

    def contact_sheet(self, path: str | os.PathLike[str], *, title: str | None = None) -> None:
        """Draw the candidates, best first, as a .png picture or an offline .html page.

        Candidates whose image was not kept have an empty cell with their scores.

        Raises:
            ConfigError: another suffix.
            OSError: the file cannot be written.
        """
        with tempfile.TemporaryDirectory() as folder:
            entries = [_entry(candidate, Path(folder)) for candidate in self.ranked]
            write_contact_sheet(
                entries, path, title=title or self.prompt[:120] or "ELIQ", sorted_by=self.sorted_by
            )

    def save_json(self, path: str | os.PathLike[str]) -> None:
        """Write `to_json` to a file.

        Raises:
            OSError: the file cannot be written.
        """
        Path(path).write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """Everything but the images, as a dict that ``json.dumps`` accepts."""
        return {
            "prompt": self.prompt,
            "sorted_by": self.sorted_by,
            "ranking": [candidate.index for candidate in self.ranked],
            "candidates": [candidate.to_json() for candidate in self.candidates],
        }


@dataclass(frozen=True, eq=False)
class BestOfNResult(_Ranked):
    """The candidates of `best_of_n`, in the order of their seeds.

    Attributes:
        candidates: all of them, pruned ones too.
        prompt: of all of them.
        sorted_by: the combination of scores in words.
        savings: with ``prune=``, what was run and what was saved, plain JSON; else None.
        preview_rank: with ``prune=``, how well the ranks of previews agreed with the final ones,
            plain JSON; else None.
    """

    savings: dict[str, Any] | None = None
    preview_rank: Any = None

    @property
    def best(self) -> Candidate:
        """The candidate with the highest score; if none was scored the first, with its error."""
        return self.ranked[0]

    def to_json(self) -> dict[str, Any]:
        facts = {"best": self.best.index, "savings": self.savings}
        return {**super().to_json(), **without_nan({**facts, "preview_rank": self.preview_rank})}


@dataclass(frozen=True, eq=False)
class RerollResult(_Ranked):
    """What `reroll` came to.

    Attributes:
        candidates: one an attempt, in the order of their seeds.
        passed: whether ``best`` reached every minimum.
        best: the first that passed, else the highest score so far.
        minimums: what had to be reached: ``visual_quality``, ``alignment``.
    """

    passed: bool = False
    minimums: dict[str, float] | None = None

    @property
    def attempts(self) -> int:
        """How many images were generated."""
        return len(self.candidates)

    @property
    def best(self) -> Candidate:
        """The one that passed, which is the last attempt, or else the highest score."""
        return self.candidates[-1] if self.passed else self.ranked[0]

    def to_json(self) -> dict[str, Any]:
        facts = {"best": self.best.index, "passed": self.passed, "attempts": self.attempts}
        return {**super().to_json(), **facts, "minimums": self.minimums}


def _order(candidates: tuple[Candidate, ...]) -> list[int]:
    """Survivors by score, then pruned ones: the last to go first, by their last preview."""
    kept = [i for i, c in enumerate(candidates) if c.pruned_at is None]
    gone = [i for i, c in enumerate(candidates) if c.pruned_at is not None]
    kept = [kept[i] for i in rank_order([candidates[i].score for i in kept])]
    previews = [_last_preview(candidates[i]) for i in gone]
    gone = [gone[i] for i in rank_order(previews)]
    gone.sort(key=lambda i: -(candidates[i].pruned_at or 0.0))
    return kept + gone


def _last_preview(candidate: Candidate) -> float:
    score = candidate.previews[-1].get("score") if candidate.previews else None
    return math.nan if score is None else float(score)


def _entry(candidate: Candidate, folder: Path) -> SheetEntry:
    path = folder / f"seed_{candidate.seed}.png"
    if candidate.image is not None and candidate.error is None:
        save_image(candidate.image, path)
    flags = candidate.flags
    if candidate.pruned_at is not None:
        flags = (*flags, f"pruned at {candidate.pruned_at:.0%}")
    return SheetEntry(
        str(path),
        candidate.prompt or None,
        without_nan(candidate.visual_quality),
        without_nan(candidate.alignment),
        tuple(flags),
        candidate.error,
    )


def without_nan(value: Any) -> Any:
    """``value`` with every NaN and infinity in it replaced by None, as JSON has neither.

    Raises:
        DiffusionError: something that JSON cannot hold.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    raise DiffusionError(f"expected what JSON can hold, found {type(value).__name__}")
