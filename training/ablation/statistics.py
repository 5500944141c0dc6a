"""Shares of right comparisons with intervals, and how far variants lie from the full method.

Prompts are drawn with replacement, all rows of a prompt together, and for every variant the same
ones: the interval of a difference is that of paired rows. The draws know nothing of how a training
might have gone with another seed; the values by seed stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eliq.supervision import bare_prompt
from eliq.supervision.distortions import FAMILIES

from ..dataset import ASPECTS, Supervision
from .negatives import family

__all__ = ["METRICS", "Bootstrap"]

_PARTS = {
    "visual": ("technical", "aesthetic"),
    "technical": ("technical",),
    "aesthetic": ("aesthetic",),
    "alignment": ("alignment",),
}
#: "visual" is both visual aspects together; "visual/conventional" its conventional negatives.
METRICS = tuple(
    [*_PARTS, "ladder"] + [f"{name}/{which}" for name in _PARTS for which in FAMILIES]
)  # fmt: skip


class Bootstrap:
    """Draws of the prompts of one test side.

    Args:
        test: all of its rows, nothing left out.
        num_resamples, confidence, seed: of the draws.
    """

    def __init__(
        self, test: Supervision, *, num_resamples: int, confidence: float, seed: int
    ) -> None:
        prompts = [bare_prompt(row.prompt) for row in (*test.tuples, *test.ladders)]
        places = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        groups = np.array([places[prompt] for prompt in prompts])
        self._tuples, self._ladders = np.split(groups, [len(test.tuples)])
        self._families = {
            aspect: np.array([family(row, aspect) for row in test.tuples]) for aspect in ASPECTS
        }
        self.num_prompts = len(places)
        draws = np.random.default_rng(seed).multinomial(
            self.num_prompts, np.full(self.num_prompts, 1 / self.num_prompts), num_resamples
        )
        # The first "draw" is the rows as they are.
        self._draws = np.vstack([np.ones(self.num_prompts, dtype=int), draws])
        self._tail = 100 * (1 - confidence) / 2

    def count(self, metric: str) -> int:
        """Comparisons that a metric is a share of; of ladders the ladders."""
        if metric == "ladder":
            return len(self._ladders)
        name, _, which = metric.partition("/")
        chosen = [self._families[a] == which if which else self._families[a] != "" for a in
                  _PARTS[name]]  # fmt: skip
        return int(sum(one.sum() for one in chosen))

    def shares(self, outcomes: Sequence[Mapping[str, Any]], metric: str) -> np.ndarray:
        """The share over all seeds' outcomes [1 + num_resamples], NaN where nothing was drawn."""
        right, counted = np.zeros(self.num_prompts), np.zeros(self.num_prompts)
        for outcome in outcomes:
            if metric == "ladder":
                pairs = np.asarray(outcome["ladder"], dtype=float).reshape(-1, 2)
                np.add.at(right, self._ladders, pairs[:, 0])
                np.add.at(counted, self._ladders, pairs[:, 1])
                continue
            name, _, which = metric.partition("/")
            for aspect in _PARTS[name]:
                wins = np.asarray(outcome[aspect], dtype=float)
                counts = (self._families[aspect] == which) if which else np.ones_like(wins)
                np.add.at(right, self._tuples, wins * counts)
                np.add.at(counted, self._tuples, counts)
        drawn = self._draws @ counted
        return np.divide(
            self._draws @ right, drawn, out=np.full(len(drawn), np.nan), where=drawn > 0
        )

    def value(self, shares: np.ndarray) -> dict[str, Any]:
        """{"value", "interval"} of shares or of a difference of shares; None where undefined."""
        known = shares[1:][~np.isnan(shares[1:])]
        if np.isnan(shares[0]) or not len(known):
            return {"value": None, "interval": None}
        low, high = np.percentile(known, [self._tail, 100 - self._tail])
        return {"value": float(shares[0]), "interval": [float(low), float(high)]}
