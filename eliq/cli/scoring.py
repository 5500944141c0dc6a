"""Scores the items of a command, a bounded chunk at a time, and yields one row an image."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .inputs import Item

if TYPE_CHECKING:
    from ..scorer import Scorer

__all__ = ["SORT_KEYS", "chunk_items", "load_scorer", "score_rows", "sort_key", "sort_rows"]

SORT_KEYS = ("mean", "visual_quality", "alignment", "min")
_MAX_CHUNK_IMAGES = 64


def load_scorer(
    checkpoint: str | None = None,
    *,
    zero_shot: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    batch_px: int | None = None,
) -> Scorer:
    """The scorer that the options name: a checkpoint, a bare model, or the embedded critic.

    Raises:
        EliqError: as `Scorer.from_pretrained` and `Scorer.zero_shot` do.
    """
    # Messages are ours to write: a load prints neither advice nor bars of other libraries.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from ..scorer import Scorer

    options: dict[str, Any] = {"device": device, "dtype": dtype, "max_batch_px": batch_px}
    if zero_shot is not None:
        return Scorer.zero_shot(zero_shot, **options)
    return Scorer.from_pretrained(checkpoint, **options)


def score_rows(scorer: Scorer, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
    """One JSON-ready row an item, in order, as soon as its chunk is scored.

    The keys are ``path``, ``prompt`` and those of `Scores.to_rows`.
    """
    # Two batches' worth: rows come out soon, and the scorer can still put like sizes together.
    for chunk in chunk_items(items, max_px=2 * scorer.max_batch_px):
        scores = scorer.score([item.path for item in chunk], [item.prompt for item in chunk])
        for item, row in zip(chunk, scores.to_rows(), strict=True):
            yield {"path": item.path, "prompt": item.prompt, **row}


def chunk_items(
    items: Iterable[Item], *, max_px: int, max_images: int = _MAX_CHUNK_IMAGES
) -> Iterator[list[Item]]:
    """Consecutive items of at most ``max_px`` pixels by their headers, or one item.

    The scorer bounds memory itself; this bounds how long a finished row waits for the others.
    """
    chunk: list[Item] = []
    chunk_px = 0
    for item in items:
        item_px = _header_px(item.path)
        if chunk and (len(chunk) == max_images or chunk_px + item_px > max_px):
            yield chunk
            chunk, chunk_px = [], 0
        chunk.append(item)
        chunk_px += item_px
    if chunk:
        yield chunk


def _header_px(path: str) -> int:
    """Pixels that the file's header claims; 0 if it cannot be told: the scorer will say why."""
    import warnings

    from PIL import Image

    if not os.path.isfile(path):  # opening a pipe would wait for ever
        return 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.width * image.height
    except Exception:  # any decoder may raise anything on a damaged header
        return 0


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
