"""The shuffle control: the same images with the prompts of others.

If the prompt is read, alignment falls and loses its agreement with people; if s_vis is a score of
the image, it stays. The paper's Eqs. 12-15 let s_vis see the alignment embedding, so that it may
depend on the prompt: here it is measured by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eliq.correlation import pairwise_accuracy, plcc, srcc
from eliq.errors import ConfigError

from .rated import RatedImage
from .splits import other_group

__all__ = ["choose_for_shuffle", "shuffle_report"]


def choose_for_shuffle(
    images: Sequence[RatedImage], number: int, *, seed: int
) -> tuple[list[int], list[str]]:
    """(rows, prompts): at most `number` rows with a prompt, each with the prompt of another group.

    Raises:
        ConfigError: too few different prompts.
    """
    rows = [i for i, image in enumerate(images) if image.prompt]
    if number < len(rows):
        drawn = np.random.default_rng(seed).choice(len(rows), number, replace=False)
        rows = [rows[i] for i in sorted(drawn)]
    partner = other_group([images[row].group_key for row in rows], seed=seed)
    return rows, [images[rows[p]].prompt or "" for p in partner]


def shuffle_report(
    own: dict[str, Sequence[float]],
    shuffled: dict[str, Sequence[float]],
    images: Sequence[RatedImage],
) -> dict[str, Any]:
    """What changed; `own` and `shuffled` hold [K] "quality" and "alignment" scores of `images`.

    alignment_falls: share of images whose alignment is higher with their own prompt, 0.5 = chance.
    srcc_own, srcc_shuffled: of alignment with the opinions on the own prompt, where people were
    asked. visual_quality_srcc, visual_quality_plcc: of s_vis under both prompts, 1 = not moved.
    visual_quality_shift: mean |change| of s_vis in standard deviations of s_vis.
    """
    out: dict[str, Any] = {"num_images": len(images)}
    if "alignment" in own:
        out["alignment_falls"] = pairwise_accuracy(own["alignment"], shuffled["alignment"])
        rated = [i for i, image in enumerate(images) if image.alignment is not None]
        opinions = [images[i].alignment for i in rated]
        for name, scores in (("srcc_own", own), ("srcc_shuffled", shuffled)):
            out[name] = _or_none(srcc, [scores["alignment"][i] for i in rated], opinions)
    if "quality" in own:
        a, b = np.asarray(own["quality"]), np.asarray(shuffled["quality"])
        out["visual_quality_srcc"] = _or_none(srcc, a, b)
        out["visual_quality_plcc"] = _or_none(plcc, a, b)
        spread = float(a.std())
        out["visual_quality_shift"] = float(np.abs(a - b).mean() / spread) if spread else None
    return out


def _or_none(statistic: Any, a: Any, b: Any) -> float | None:
    try:
        return statistic(a, b)
    except ConfigError:
        return None
