"""Agreement of two lists of numbers: SRCC, PLCC, KRCC, pairwise accuracy, bootstrap intervals.

Numpy only. Every function takes array-likes of one dimension with K finite numbers and returns
a Python float; ties are counted, never broken at random.

Errors, everywhere: ConfigError on lists of different lengths, on fewer than two numbers, on
values that are not finite, and on a list that is constant (a correlation with a constant is not
defined; 0 would read as a measurement, NaN would be averaged away).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ConfigError

__all__ = ["bootstrap_interval", "krcc", "pairwise_accuracy", "plcc", "rank", "srcc"]


def plcc(a: Any, b: Any) -> float:
    """Pearson's linear correlation of a [K] and b [K], in -1..1, with no fit before it."""
    return _pearson(*_pair(a, b))


def srcc(a: Any, b: Any) -> float:
    """Spearman's rank correlation of a [K] and b [K], in -1..1: Pearson's on average ranks.

    Ties share the mean of their ranks, so this is not the 1 - 6 sum d^2 / (n^3 - n) shortcut,
    which is wrong under ties.
    """
    a, b = _pair(a, b)
    return _pearson(rank(a), rank(b))


def krcc(a: Any, b: Any) -> float:
    """Kendall's tau-b of a [K] and b [K], in -1..1 (Kendall 1945, with the tie correction).

    tau_b = (concordant - discordant) / sqrt((n0 - ties_a) (n0 - ties_b)), n0 = K (K - 1) / 2.
    Row by row: K^2 time, K memory.
    """
    a, b = _pair(a, b)
    balance = untied_a = untied_b = 0
    for i in range(a.size - 1):
        sign_a, sign_b = np.sign(a[i + 1 :] - a[i]), np.sign(b[i + 1 :] - b[i])
        balance += int(sign_a @ sign_b)
        untied_a += int(np.count_nonzero(sign_a))
        untied_b += int(np.count_nonzero(sign_b))
    return float(balance / np.sqrt(float(untied_a) * float(untied_b)))


def pairwise_accuracy(positive: Any, negative: Any) -> float:
    """Share of pairs i with positive[i] > negative[i], in 0..1; a tie counts half.

    Counting a tie as half gives a scorer that always returns the same number 0.5, which is
    chance. positive [K], negative [K], K >= 1; constant lists are allowed here.
    """
    positive, negative = _vector("positive", positive), _vector("negative", negative)
    _same_length(positive, negative, at_least=1)
    return float(np.mean((np.sign(positive - negative) + 1.0) / 2.0))


def bootstrap_interval(
    statistic: Callable[..., float],
    *samples: Any,
    groups: Any = None,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of ``statistic(*samples)`` (Efron 1979).

    The rows of all samples are drawn together, with replacement. With ``groups`` whole groups
    are drawn (all rows of a photograph, a prompt or a scene), which is the honest interval when
    rows of a group are not independent. A resample on which the statistic is not defined
    (ConfigError, as on a constant list) is left out.

    Args:
        statistic: takes as many arrays as there are samples, returns a float.
        samples: arrays [K] or [K, ...]; the first dimension is resampled.
        groups: [K] labels of any hashable kind, or None for single rows.
        num_resamples: > 0. confidence: inside 0..1. seed: same seed, same interval.

    Raises:
        ConfigError: settings out of range, lengths that differ, or a statistic that was not
            defined on more than half of the resamples.
    """
    if not samples or num_resamples < 1 or not 0.0 < confidence < 1.0:
        raise ConfigError(
            "bootstrap: expected at least one sample, num_resamples >= 1 and 0 < confidence < 1, "
            f"found {len(samples)} samples, {num_resamples}, {confidence}"
        )
    arrays = [np.asarray(sample) for sample in samples]
    num_rows = len(arrays[0]) if arrays[0].ndim else 0
    if num_rows == 0 or any(array.ndim == 0 or len(array) != num_rows for array in arrays):
        shapes = [array.shape for array in arrays]
        raise ConfigError(f"bootstrap: expected samples of one length > 0, found shapes {shapes}")
    rows_of_group = _rows_of_group(groups, num_rows)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(num_resamples):
        drawn = rng.integers(0, len(rows_of_group), len(rows_of_group))
        rows = np.concatenate([rows_of_group[i] for i in drawn])
        try:
            values.append(float(statistic(*(array[rows] for array in arrays))))
        except ConfigError:
            continue
    if len(values) * 2 < num_resamples:
        raise ConfigError(
            f"bootstrap: the statistic is defined on {len(values)} of {num_resamples} resamples; "
            "more rows or groups are needed"
        )
    tail = 100.0 * (1.0 - confidence) / 2.0
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return float(low), float(high)


def rank(values: Any) -> np.ndarray:
    """Average ranks [K] float64 of values [K], from 1; ties share the mean of their ranks."""
    values = _vector("values", values)
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # the rank of the last member of each group of equals
    return (last - (counts - 1) / 2.0)[group]


def _pearson(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.clip(_unit(a) @ _unit(b), -1.0, 1.0))


def _unit(values: np.ndarray) -> np.ndarray:
    """Centred and of norm 1; scaled by the largest value first, or squares could overflow."""
    values = values / np.abs(values).max()
    values = values - values.mean()
    return values / np.linalg.norm(values)


def _pair(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = _vector("a", a), _vector("b", b)
    _same_length(a, b, at_least=2)
    for name, values in (("a", a), ("b", b)):
        if (values == values[0]).all():
            raise ConfigError(
                f"correlation: {name} is constant ({values[0]:g}, {values.size} times), "
                "so no correlation with it is defined"
            )
    return a, b


def _vector(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, of any device and dtype
        values = values.detach().double().cpu().numpy()
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ConfigError(f"correlation: expected {name} of one dimension, found {values.shape}")
    if not np.isfinite(values).all():
        num_bad = int((~np.isfinite(values)).sum())
        raise ConfigError(
            f"correlation: expected finite numbers, found {num_bad} of {values.size} in {name} "
            "that are not; leave out rows that were not scored before"
        )
    return values


def _same_length(a: np.ndarray, b: np.ndarray, *, at_least: int) -> None:
    if a.size != b.size or a.size < at_least:
        raise ConfigError(
            f"correlation: expected two lists of one length >= {at_least}, "
            f"found {a.size} and {b.size}"
        )


def _rows_of_group(groups: Any, num_rows: int) -> list[np.ndarray]:
    if groups is None:
        return list(np.arange(num_rows)[:, None])
    labels = list(groups)
    if len(labels) != num_rows:
        raise ConfigError(f"bootstrap: expected {num_rows} group labels, found {len(labels)}")
    rows: dict[Any, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return [np.asarray(members) for members in rows.values()]
