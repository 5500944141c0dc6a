"""Scores of what a run is heading for, and whether it is still worth going on.

Shapes: B images of one run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import ConfigError, DiffusionError
from .scoring import ScoredImage, score_images

__all__ = ["StepScores", "Thresholds", "score_previews"]


@dataclass(frozen=True)
class StepScores:
    """Scores of B previews at one step.

    Attributes:
        run: of the callback, from 0: one that is used for several calls of a pipeline counts them.
        step_index: of the call of `scheduler.step`, from 0.
        num_steps: such calls in the run.
        fraction: share of them that were done, 0..1.
        images: one row an image, in the order of the batch.
    """

    run: int
    step_index: int
    num_steps: int
    fraction: float
    images: tuple[ScoredImage, ...]

    @property
    def visual_quality(self) -> list[float]:
        """B numbers in 0..1, higher is better; NaN where an image was not scored."""
        return [image.visual_quality for image in self.images]

    @property
    def alignment(self) -> list[float]:
        """B numbers in 0..1, higher is better; NaN as above, or without a prompt."""
        return [image.alignment for image in self.images]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; a number that does not exist is null."""
        return {
            "run": self.run,
            "step_index": self.step_index,
            "num_steps": self.num_steps,
            "fraction": self.fraction,
            "images": [
                {
                    "visual_quality": _json_number(image.visual_quality),
                    "alignment": _json_number(image.alignment),
                    "flags": list(image.flags),
                    "error": image.error,
                }
                for image in self.images
            ],
        }


@dataclass(frozen=True)
class Thresholds:
    """What an image must reach; None = anything.

    Raises:
        ConfigError: a threshold that is no number from 0 to 1.
    """

    min_visual_quality: float | None = None
    min_alignment: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_visual_quality", "min_alignment"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 <= value <= 1):
                raise ConfigError(f"{name}: expected a number from 0 to 1, found {value!r}")

    def __bool__(self) -> bool:
        return self.min_visual_quality is not None or self.min_alignment is not None

    def accept(self, image: ScoredImage) -> bool:
        """Whether an image reaches them. One that could not be scored does not; without a prompt
        there is no alignment to ask for.
        """
        if self and not math.isfinite(image.visual_quality):
            return False
        is_good = self.min_visual_quality is None or image.visual_quality >= self.min_visual_quality
        is_aligned = (
            self.min_alignment is None
            or not math.isfinite(image.alignment)
            or image.alignment >= self.min_alignment
        )
        return is_good and is_aligned


def score_previews(
    scorer: Any, images: Tensor, prompts: Sequence[str | None]
) -> tuple[ScoredImage, ...]:
    """Score B images [B,3,H,W] with P prompts, in diffusers' order: B / P images of the first
    prompt, then as many of the second.

    Raises:
        DiffusionError: B is no multiple of P.
    """
    each, rest = divmod(len(images), len(prompts))
    if rest:
        raise DiffusionError(
            f"prompt: expected one text, or one for each of the {len(images)} images, found "
            f"{len(prompts)}"
        )
    if len(set(prompts)) == 1:
        return tuple(score_images(scorer, images, prompts[0]))
    rows = [
        row
        for prompt, part in zip(prompts, images.split(each), strict=True)
        for row in score_images(scorer, part, prompt)
    ]
    return tuple(rows)


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None
