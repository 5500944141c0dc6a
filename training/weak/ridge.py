"""Least squares with a penalty, in closed form, the penalty chosen by the labelled rows alone.

    y = x w + b,   minimise  sum (y - x w - b)^2 + penalty * N * |w in units of standard x|^2

Shapes: N rows, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eliq.errors import ConfigError

__all__ = ["PENALTIES", "Ridge", "fit_ridge"]

#: Tried in cross-validation; as shares of the variance of a feature, so units do not matter.
PENALTIES = tuple(10.0**k for k in np.arange(-5, 2.5, 0.5))
_NUM_FOLDS = 5


@dataclass(frozen=True)
class Ridge:
    """weights float64 [d], offset, and the penalty that was chosen."""

    weights: np.ndarray
    offset: float
    penalty: float

    def __call__(self, features: Any) -> np.ndarray:
        """[K,d] -> [K], in the units of what it was fitted on."""
        return np.asarray(features, dtype=np.float64) @ self.weights + self.offset


def fit_ridge(
    features: Any,
    targets: Any,
    *,
    groups: Sequence[str] | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Ridge:
    """The regressor of features [N,d] to targets [N]; deterministic.

    Of several `penalties` the one of least squared error in five-fold cross-validation is taken;
    rows of one of the `groups` (a prompt) are never on both sides of a fold. Features that do not
    vary get the weight 0.

    Raises:
        ConfigError: lengths that differ, non-finite values, or fewer than 2 rows or groups.
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    labels = list(range(len(y))) if groups is None else list(groups)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(labels) != len(y):
        raise ConfigError(
            f"regression: expected features [N,d], targets [N] and N groups, found {x.shape}, "
            f"{y.shape} and {len(labels)}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ConfigError("regression: expected finite features and targets, found others")
    if len(set(labels)) < 2:
        raise ConfigError(f"regression: expected 2 groups or more, found {len(set(labels))}")
    penalties = tuple(penalties)
    if not penalties or min(penalties) <= 0:
        raise ConfigError(f"regression: expected penalties above 0, found {penalties}")
    best = penalties[0]
    if len(penalties) > 1:
        errors = np.zeros(len(penalties))
        folds = _folds(labels, seed)
        for held_out in folds:
            fits = _fit_all(x[~held_out], y[~held_out], penalties)
            errors += [np.sum((fit(x[held_out]) - y[held_out]) ** 2) for fit in fits]
        best = penalties[int(errors.argmin())]
    return _fit_all(x, y, (best,))[0]


def _fit_all(x: np.ndarray, y: np.ndarray, penalties: Sequence[float]) -> list[Ridge]:
    """One eigendecomposition serves every penalty."""
    mean, std = x.mean(axis=0), x.std(axis=0)
    varies = std > 1e-12 * np.maximum(1.0, np.abs(mean))
    scale = np.where(varies, std, 1.0)
    z = np.where(varies, (x - mean) / scale, 0.0)
    values, vectors = np.linalg.eigh(z.T @ z / len(z))
    rotated = vectors.T @ (z.T @ (y - y.mean()) / len(z))
    fits = []
    for penalty in penalties:
        weights = vectors @ (rotated / (np.maximum(values, 0.0) + penalty)) / scale
        weights = np.where(varies, weights, 0.0)
        fits.append(Ridge(weights, float(y.mean() - mean @ weights), float(penalty)))
    return fits


def _folds(labels: Sequence[Any], seed: int) -> list[np.ndarray]:
    names = sorted(set(labels))
    np.random.default_rng(seed).shuffle(names)
    number = min(_NUM_FOLDS, len(names))
    fold_of = {name: i % number for i, name in enumerate(names)}
    fold = np.asarray([fold_of[label] for label in labels])
    return [fold == i for i in range(number)]
