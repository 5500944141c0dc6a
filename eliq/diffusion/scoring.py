"""Scores of a batch of images, as plain numbers, from any scorer.

Shapes: B images [B,3,H,W] in [0,1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import DiffusionError
from .pipelines import execution_device

__all__ = ["ScoredImage", "load_scorer", "score_images"]


@dataclass(frozen=True)
class ScoredImage:
    """Scores of one image; NaN = there is none."""

    visual_quality: float
    alignment: float
    flags: tuple[str, ...] = ()
    error: str | None = None


def load_scorer(scorer: Any, pipe: Any) -> Any:
    """``scorer``, or for None the embedded critic, on the device that the pipeline runs on.

    Raises:
        CheckpointError: the embedded critic is not in this installation.
        DiffusionError: something that cannot score.
    """
    if scorer is None:
        from ..scorer import Scorer

        return Scorer.from_pretrained(device=execution_device(pipe))
    if not callable(getattr(scorer, "score", None)):
        raise DiffusionError(
            f"scorer: expected an eliq.Scorer, or an object with score(images, prompts), found "
            f"{type(scorer).__name__}"
        )
    return scorer


def score_images(scorer: Any, images: Tensor, prompt: str) -> list[ScoredImage]:
    """Score B images with one prompt, where they lie.

    Raises:
        DiffusionError: the scorer gives another number of scores than B.
    """
    scores = scorer.score(images, [prompt] * len(images))
    quality = _numbers(scores.visual_quality)
    alignment = _numbers(scores.alignment)
    flags = getattr(scores, "flags", None) or [()] * len(images)
    errors = getattr(scores, "errors", None) or [None] * len(images)
    lengths = {len(quality), len(alignment), len(flags), len(errors)}
    if lengths != {len(images)}:
        raise DiffusionError(
            f"scorer: expected {len(images)} scores for {len(images)} images, found "
            f"{sorted(lengths)}"
        )
    return [
        ScoredImage(
            q if math.isfinite(q) else math.nan,
            a if math.isfinite(a) else math.nan,
            tuple(words),
            error if error or math.isfinite(q) else "the scorer gave no finite visual quality",
        )
        for q, a, words, error in zip(quality, alignment, flags, errors, strict=True)
    ]


def _numbers(column: Any) -> list[float]:
    if isinstance(column, Tensor):
        return [float(value) for value in column.detach().float().cpu().reshape(-1).tolist()]
    return [math.nan if value is None else float(value) for value in column]
