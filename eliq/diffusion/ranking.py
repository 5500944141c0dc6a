"""One number from the two scores of an image, and the order of candidates by it.

Shapes: B candidates. Every score is float, 0..1, higher is better; NaN = there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from ..scores import SCORE_NAMES

__all__ = ["Combination", "combine_scores", "describe_combination", "rank_order"]

Combination = str | Mapping[str, float] | Callable[[float, float], float]
_NAMED = ("mean", "min")


def combine_scores(
    visual_quality: Sequence[float], alignment: Sequence[float], how: Combination = "mean"
) -> list[float]:
    """The score [B] that candidates are ranked by.

    Args:
        visual_quality: [B]; NaN = not scored.
        alignment: [B]; NaN = no prompt.
        how: "mean", "min" (the weaker of the two), weights such as ``{"visual_quality": 1,
            "alignment": 3}`` (their weighted mean), or a function of the two numbers of one image.

    Returns:
        Floats [B]: NaN where there is no visual quality, visual quality alone where there is no
        alignment (a function is asked with NaN first, and its NaN replaced so).

    Raises:
        ConfigError: another ``how``, parts of two lengths, or a function that gives no number.
    """
    check_combination(how)
    if len(visual_quality) != len(alignment):
        raise ConfigError(
            f"combine_scores: expected as many alignments as visual qualities, found "
            f"{len(alignment)} and {len(visual_quality)}"
        )
    pairs = zip(visual_quality, alignment, strict=True)
    return [_combined(float(quality), float(aligned), how) for quality, aligned in pairs]


def rank_order(scores: Sequence[float]) -> list[int]:
    """Positions, best first: NaN last, equal scores in the order of the input."""
    return sorted(
        range(len(scores)),
        key=lambda i: (math.isnan(scores[i]), 0.0 if math.isnan(scores[i]) else -scores[i]),
    )


def describe_combination(how: Combination) -> str:
    """``how`` in words, for headings and records: "the mean of both scores"."""
    if how == "mean":
        return "the mean of both scores"
    if how == "min":
        return "the lower of both scores"
    if isinstance(how, Mapping):
        parts = (f"{float(how[n]):g} {n.replace('_', ' ')}" for n in SCORE_NAMES if n in how)
        return "the weighted mean of " + " and ".join(parts)
    return f"the function {getattr(how, '__name__', type(how).__name__)}"


def check_combination(how: Any) -> None:
    """Refuse what is no way to combine two scores, before anything is generated.

    Raises:
        ConfigError: neither a known word, nor weights, nor a function.
    """
    if isinstance(how, Mapping):
        unknown = set(how) - set(SCORE_NAMES)
        weights = list(how.values())
        are_numbers = all(
            isinstance(w, (int, float)) and not isinstance(w, bool) and math.isfinite(w) and w >= 0
            for w in weights
        )
        if unknown or not are_numbers or not sum(weights):
            raise ConfigError(
                f"combine: expected weights >= 0, one above 0, of {' and '.join(SCORE_NAMES)}, "
                f"found {dict(how)}"
            )
    elif not callable(how) and how not in _NAMED:
        raise ConfigError(
            f"combine: expected 'mean', 'min', a dict of weights or a function, found {how!r}"
        )


def _combined(quality: float, alignment: float, how: Combination) -> float:
    if math.isnan(quality):
        return math.nan
    if callable(how):
        try:
            score = float(how(quality, alignment))
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"combine: expected a function of two numbers that gives one number, found {error}"
            ) from error
        return quality if math.isnan(score) and math.isnan(alignment) else score
    if math.isnan(alignment):
        return quality
    if isinstance(how, Mapping):
        weights = [float(how.get(name, 0.0)) for name in SCORE_NAMES]
        return (weights[0] * quality + weights[1] * alignment) / sum(weights)
    return min(quality, alignment) if how == "min" else (quality + alignment) / 2
