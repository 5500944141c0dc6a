"""Which images of a batch pass the thresholds, and why the others do not. Nothing of ComfyUI.

Shapes: B images. Every score is float, 0..1, higher is better; NaN = there is none.
Positions count from 0, as ComfyUI's own batch indices do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Verdict", "describe_verdicts", "judge", "join_positions", "split_positions"]


@dataclass(frozen=True)
class Verdict:
    """What became of one image: it passed where there is no reason against it.

    Attributes:
        reasons: short texts such as "alignment 0.312 is below 0.500".
    """

    reasons: tuple[str, ...] = ()

    @property
    def is_accepted(self) -> bool:
        return not self.reasons


def judge(
    visual_quality: Sequence[float],
    alignment: Sequence[float],
    *,
    min_visual_quality: float = 0.0,
    min_alignment: float = 0.0,
) -> list[Verdict]:
    """One verdict an image: a score passes at its threshold or above it.

    A threshold of 0 is off: it asks for nothing, not even that there is a score. Any other is
    missed by an image that has no such score, be it unscored or without a prompt.

    Raises:
        ValueError: a threshold outside 0..1, or parts of two lengths.
    """
    minimums = {"visual quality": min_visual_quality, "alignment": min_alignment}
    for name, minimum in minimums.items():
        if not 0.0 <= minimum <= 1.0:  # NaN as well
            raise ValueError(
                f"min_{name.replace(' ', '_')}: expected a number from 0 (off) to 1, "
                f"found {minimum}"
            )
    if len(visual_quality) != len(alignment):
        raise ValueError(
            f"expected as many alignments as visual qualities, found {len(alignment)} and "
            f"{len(visual_quality)}"
        )
    return [
        Verdict(
            tuple(
                reason
                for (name, minimum), score in zip(minimums.items(), pair, strict=True)
                if (reason := _reason(name, float(score), minimum))
            )
        )
        for pair in zip(visual_quality, alignment, strict=True)
    ]


def split_positions(verdicts: Sequence[Verdict]) -> tuple[list[int], list[int]]:
    """Positions of the accepted and of the rejected images, each in the order of the batch."""
    accepted = [i for i, verdict in enumerate(verdicts) if verdict.is_accepted]
    rejected = [i for i, verdict in enumerate(verdicts) if not verdict.is_accepted]
    return accepted, rejected


def describe_verdicts(verdicts: Sequence[Verdict]) -> str:
    """The counts, then a line for each image that was rejected."""
    accepted, rejected = split_positions(verdicts)
    lines = [f"{len(accepted)} accepted, {len(rejected)} rejected"]
    lines += [f"#{position}: {', '.join(verdicts[position].reasons)}" for position in rejected]
    return "\n".join(lines)


def join_positions(positions: Sequence[int]) -> str:
    """ "0,2,5": the form that nodes which pick from a batch by a text of indices read."""
    return ",".join(str(position) for position in positions)


def _reason(name: str, score: float, minimum: float) -> str:
    if minimum == 0.0:
        return ""
    if math.isnan(score):
        return f"no {name}, {minimum:.3f} asked for"
    if score >= minimum:
        return ""
    digits = 3 if f"{score:.3f}" != f"{minimum:.3f}" else 6  # "0.500 is below 0.500" helps nobody
    return f"{name} {score:.{digits}f} is below {minimum:.{digits}f}"
