"""Scores the items of a command and yields one row an image, as soon as it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .inputs import Item

if TYPE_CHECKING:
    from ..ip_iqa import IPIQA
    from ..scorer import Scorer

__all__ = ["SORT_KEYS", "load_scorer", "score_rows", "sort_key", "sort_rows"]

SORT_KEYS = ("mean", "visual_quality", "alignment", "min")


def load_scorer(
    checkpoint: str | None = None,
    *,
    system: str | None = None,
    zero_shot: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_px: int | None = None,
) -> Scorer | IPIQA:
    """The scorer that the options name: a checkpoint, a bare model, or the embedded critic.

    Raises:
        EliqError: as `eliq.load_scorer` and `Scorer.zero_shot` do.
    """
    # Messages are ours to write: a load prints neither advice nor bars of other libraries.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from .. import loading
    from ..scorer import Scorer

    options: dict[str, Any] = {"device": device, "dtype": dtype, "max_batch_px": batch_px}
    if zero_shot is not None:
        return Scorer.zero_shot(zero_shot, **options)
    return loading.load_scorer(checkpoint, system=system, **options)


def score_rows(scorer: Scorer | IPIQA, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """One JSON-ready row an item, in order, as soon as its part of the stream is scored.

    The keys are ``path``, ``prompt`` and those of `Scores.to_rows`.
    """
    parts = scorer.stream([item.path for item in items], [item.prompt for item in items])
    rows = (row for part in parts for row in part.to_rows())
    for item, row in zip(items, rows, strict=True):
        yield {"path": item.path, "prompt": item.prompt, **row}


def sort_key(row: Mapping[str, Any], by: str) -> float | None:
    """The number by which ``row`` is ranked; None if it was not scored.

    ``mean`` and ``min`` take the scores that there are: without a prompt the visual quality alone.
    """
    scores = (row["visual_quality"], row["alignment"])
    if by in ("visual_quality", "alignment"):
        return row[by]
    known = [score for score in scores if score is not None]
    if not known:
        return None
    return min(known) if by == "min" else sum(known) / len(known)


def sort_rows(rows: Sequence[dict[str, Any]], by: str) -> list[dict[str, Any]]:
    """``rows`` best first, those without a score last; ties keep their order."""

    def order(row: dict[str, Any]) -> tuple[bool, float]:
        key = sort_key(row, by)
        return (key is None, -(key or 0.0))

    return sorted(rows, key=order)
