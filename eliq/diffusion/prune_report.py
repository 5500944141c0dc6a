"""What pruning saved, and how far its previews agreed with what came later."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..correlation import srcc
from ..errors import ConfigError
from .prune_schedule import PruneSchedule
from .ranking import rank_order

__all__ = ["Preview", "PruneReport"]

logger = logging.getLogger("eliq")


@dataclass(frozen=True)
class Preview:
    """Scores of a candidate on its way, 0..1; NaN = there is none.

    Attributes:
        fraction: of the schedule that was done.
        score: what candidates were ranked by.
    """

    fraction: float
    visual_quality: float
    alignment: float
    score: float

    def to_json(self) -> dict[str, Any]:
        """As a dict; NaN stays NaN."""
        return dict(vars(self))


@dataclass(frozen=True)
class PruneReport:
    """What one pruned run of N candidates did.

    Attributes:
        method: "rows" or "calls".
        survivors: indices of the candidates that the cuts left, ascending. In a trial, those that
            they would have left.
        pruned_at: [N], the fraction of the schedule after which it was dropped (in a trial, would
            have been), or None.
        previews: [N], of each candidate in the order of the cuts.
        rows_run: denoiser rows computed, those of guidance too. rows_full: of the unpruned run.
        decodes: final images decoded by the pipeline.
    """

    schedule: PruneSchedule
    method: str
    survivors: tuple[int, ...]
    pruned_at: tuple[float | None, ...]
    previews: tuple[tuple[Preview, ...], ...]
    rows_run: int
    rows_full: int
    decodes: int

    @property
    def num_previews(self) -> int:
        """Previews decoded and scored."""
        return sum(len(previews) for previews in self.previews)

    def to_json(self) -> dict[str, Any]:
        """What was saved, as plain JSON."""
        return {
            "method": self.method,
            "schedule": self.schedule.to_json(),
            "survivors": list(self.survivors),
            "denoiser_rows": self.rows_run,
            "denoiser_rows_unpruned": self.rows_full,
            "row_share": self.rows_run / self.rows_full if self.rows_full else 1.0,
            "decodes": self.decodes,
            "decodes_unpruned": len(self.previews),
            "previews": self.num_previews,
        }

    def rank_agreement(self, final_scores: Mapping[int, float]) -> dict[str, Any]:
        """How far the ranks of previews agree with the next look at the same candidates.

        Args:
            final_scores: score of the final image, by the candidate's index.

        Returns:
            ``cuts``: a dict a cut with its ``fraction`` and two comparisons, ``next`` (with the
            cut after it, or the final image) and ``final``; each holds ``num``, the candidates
            compared, and ``srcc``, -1..1, None where fewer than two or all scores are equal.
            ``best_survives``: in a trial, whether the best final image would have been kept.
        """
        looks: list[tuple[float | None, dict[int, float]]] = []
        for fraction in sorted({one.fraction for row in self.previews for one in row}):
            found = {
                index: one.score
                for index, row in enumerate(self.previews)
                for one in row
                if one.fraction == fraction
            }
            looks.append((fraction, found))
        looks.append((None, dict(final_scores)))
        cuts = [
            {
                "fraction": fraction,
                "next": _agreement(scores, looks[i + 1][1]),
                "final": _agreement(scores, looks[-1][1]),
            }
            for i, (fraction, scores) in enumerate(looks[:-1])
        ]
        return {"cuts": cuts, "best_survives": self._best_survives(final_scores)}

    def _best_survives(self, final_scores: Mapping[int, float]) -> bool | None:
        if not self.schedule.trial or not final_scores:
            return None
        indices = sorted(final_scores)
        best = indices[rank_order([final_scores[i] for i in indices])[0]]
        return best in self.survivors

    def log(self, final_scores: Mapping[int, float]) -> None:
        """One line on the logger `eliq` of what was saved, and one a cut on its ranks."""
        share = self.to_json()["row_share"]
        logger.info(
            "pruning: %d of %d denoiser rows (%.0f %%), %d of %d decodes, %d previews",
            self.rows_run, self.rows_full, 100 * share,
            self.decodes, len(self.previews), self.num_previews,
        )  # fmt: skip
        for cut in self.rank_agreement(final_scores)["cuts"]:
            words = [
                f"{one['srcc']:+.2f} with the {name} of {one['num']}"
                for name, one in (("next look", cut["next"]), ("final images", cut["final"]))
                if one["srcc"] is not None
            ]
            logger.info(
                "pruning: rank correlation of previews at %.0f %%: %s",
                100 * cut["fraction"], ", ".join(words) or "too few left to compare",
            )  # fmt: skip


def _agreement(first: Mapping[int, float], second: Mapping[int, float]) -> dict[str, Any]:
    pairs = [
        (first[index], second[index])
        for index in sorted(set(first) & set(second))
        if math.isfinite(first[index]) and math.isfinite(second[index])
    ]
    return {"num": len(pairs), "srcc": _srcc_or_none(pairs)}


def _srcc_or_none(pairs: Sequence[tuple[float, float]]) -> float | None:
    if len(pairs) < 2:
        return None
    try:
        return srcc([a for a, _ in pairs], [b for _, b in pairs])
    except ConfigError:  # all equal: no order to agree with
        return None
