"""Ways to rank images by their two scores, and a ranking in words. Nothing of ComfyUI.

Shapes: B images. Every score is float, 0..1, higher is better; NaN = there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["RANKINGS", "describe_picks", "weights_of"]

RANKINGS = ("mean", "min", "visual_quality", "alignment", "weighted")


def weights_of(ranking: str, alignment_weight: float = 0.5) -> str | dict[str, float]:
    """A word of `RANKINGS` as `eliq.diffusion.combine_scores` takes it.

    Args:
        alignment_weight: for "weighted", 0..1: the share of alignment.

    Raises:
        ValueError: another word, or a share outside 0..1.
    """
    if ranking not in RANKINGS:
        raise ValueError(f"combine: expected one of {', '.join(RANKINGS)}, found {ranking!r}")
    if ranking == "weighted":
        if not 0.0 <= alignment_weight <= 1.0:  # NaN as well
            raise ValueError(
                f"alignment_weight: expected a number from 0 to 1, found {alignment_weight}"
            )
        return {"visual_quality": 1.0 - alignment_weight, "alignment": alignment_weight}
    return ranking if ranking in ("mean", "min") else {ranking: 1.0}


def describe_picks(
    positions: Sequence[int],
    *,
    visual_quality: Sequence[float],
    alignment: Sequence[float],
    wanted: int,
) -> str:
    """How many were picked, then a line an image, best first.

    Args:
        positions: of the picked images in the batch.
        visual_quality, alignment: of the whole batch [B].
        wanted: how many the user asked for.
    """
    total = len(visual_quality)
    lines = [f"best {len(positions)} of {total}"]
    if wanted > total:
        lines[0] = f"all {total}: {wanted} asked for, the batch holds no more"
    for position in positions:
        pair = (visual_quality[position], alignment[position])
        lines.append("#{}: visual quality {}, alignment {}".format(position, *map(_number, pair)))
    return "\n".join(lines)


def _number(score: float) -> str:
    return "none" if math.isnan(score) else f"{score:.3f}"
