"""What one try at a picture came to, and which of several tries is the best. Nothing of ComfyUI.

Shapes: B images a try. Every score is float, 0..1, higher is better; NaN = there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .verdicts import judge

__all__ = ["ANY_IMAGE", "PASS_RULES", "Thresholds", "TryResult", "judge_try"]

ANY_IMAGE = "any image passes"
PASS_RULES = (ANY_IMAGE, "all images pass")


@dataclass(frozen=True)
class Thresholds:
    """When a try passes.

    Attributes:
        min_visual_quality, min_alignment: 0..1; 0 = off.
        pass_rule: one of `PASS_RULES`: for batches of more than one image.
    """

    min_visual_quality: float = 0.0
    min_alignment: float = 0.0
    pass_rule: str = ANY_IMAGE


@dataclass(frozen=True, order=True)
class TryResult:
    """One try; of two, the greater is the better, and of equals the earlier.

    Attributes:
        is_passed: whether the batch passes.
        shortfall: 0 or less: how far below its thresholds the deciding image is, -inf without
            the scores that are asked for.
        mean: of the scores of the deciding image; -inf where it has none.
        order: minus the number of the try.
        visual_quality, alignment: of the deciding image: the best of the batch where one is
            enough, the worst where all must pass.
    """

    is_passed: bool
    shortfall: float
    mean: float
    order: int
    visual_quality: float = math.nan
    alignment: float = math.nan

    @property
    def number(self) -> int:
        """Tries before this one."""
        return -self.order

    def describe(self) -> str:
        """Its scores in words."""
        quality = "not scored" if math.isnan(self.visual_quality) else f"{self.visual_quality:.3f}"
        if math.isnan(self.alignment):
            return f"visual quality {quality}"
        return f"visual quality {quality}, alignment {self.alignment:.3f}"


def judge_try(
    visual_quality: Sequence[float],
    alignment: Sequence[float],
    thresholds: Thresholds,
    number: int,
) -> TryResult:
    """The result of try ``number`` (from 0) from the scores [B] of its images.

    Raises:
        ValueError: a threshold outside 0..1, an unknown rule, no image, or parts of two lengths.
    """
    if thresholds.pass_rule not in PASS_RULES:
        raise ValueError(f"pass_rule: expected one of {PASS_RULES}, found {thresholds.pass_rule!r}")
    verdicts = judge(
        visual_quality,
        alignment,
        min_visual_quality=thresholds.min_visual_quality,
        min_alignment=thresholds.min_alignment,
    )
    if not verdicts:
        raise ValueError("expected at least one image in a try, found an empty batch")
    images = [
        TryResult(
            verdict.is_accepted,
            _shortfall(float(quality), float(aligned), thresholds),
            _mean(float(quality), float(aligned)),
            -number,
            float(quality),
            float(aligned),
        )
        for verdict, quality, aligned in zip(verdicts, visual_quality, alignment, strict=True)
    ]
    choose = max if thresholds.pass_rule == ANY_IMAGE else min
    return choose(images, key=lambda one: (one.is_passed, one.shortfall, one.mean))


def _shortfall(quality: float, aligned: float, thresholds: Thresholds) -> float:
    pairs = ((quality, thresholds.min_visual_quality), (aligned, thresholds.min_alignment))
    gaps = [score - minimum for score, minimum in pairs if minimum > 0]
    if any(math.isnan(gap) for gap in gaps):
        return -math.inf
    return min([0.0, *gaps])


def _mean(quality: float, aligned: float) -> float:
    known = [score for score in (quality, aligned) if not math.isnan(score)]
    return sum(known) / len(known) if known else -math.inf
