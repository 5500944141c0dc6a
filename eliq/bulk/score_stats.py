"""The distribution of a score over any number of images, in the memory of a thousand numbers."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["ScoreStats"]

_NUM_BINS = 1000
_NUM_BARS = 20
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class ScoreStats:
    """Count, mean, spread, extremes and quantiles of numbers in 0..1.

    Quantiles are read off bins of 0.001, steps and not interpolated; ``histogram`` has twenty bars.
    """

    def __init__(self) -> None:
        self._bins = [0] * (_NUM_BINS + 1)
        self._histogram = [0] * _NUM_BARS  # of its own: a bin of the other is rounded to
        self._count = 0
        self._mean = self._squares = 0.0  # Welford: exact where a sum of squares would cancel
        self._lowest, self._highest = math.inf, -math.inf

    def add(self, value: float) -> None:
        """Count one number."""
        self._count += 1
        difference = value - self._mean
        self._mean += difference / self._count
        self._squares += difference * (value - self._mean)
        self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)
        self._bins[min(_NUM_BINS, max(0, round(value * _NUM_BINS)))] += 1
        self._histogram[min(_NUM_BARS - 1, max(0, int(value * _NUM_BARS)))] += 1

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; numbers are null where nothing was counted."""
        if not self._count:
            return {"count": 0, "mean": None, "std": None, "min": None, "max": None}
        return {
            "count": self._count,
            "mean": round(self._mean, 6),
            "std": round(math.sqrt(self._squares / self._count), 6),
            "min": round(self._lowest, 6),
            "max": round(self._highest, 6),
            **{f"p{round(share * 100):02d}": self._quantile(share) for share in _QUANTILES},
            "histogram": list(self._histogram),
        }

    def _quantile(self, share: float) -> float:
        seen = 0
        for number, count in enumerate(self._bins):
            seen += count
            if seen >= share * self._count:
                return number / _NUM_BINS
        return 1.0
