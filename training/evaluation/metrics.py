"""What a list of scores is worth against a list of opinions, beyond `eliq.correlation`.

Shapes: K images; scores and opinions [K], higher is better in both. Errors as in
`eliq.correlation`: ConfigError on what is not finite, of different lengths or constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from eliq.correlation import plcc, srcc
from eliq.errors import ConfigError, EvaluationError

__all__ = [
    "GroupedSrcc",
    "Logistic",
    "fit_logistic",
    "group_means",
    "partial_srcc",
    "plcc_after_logistic",
    "tie_calibrated_accuracy",
    "within_group_srcc",
]


class Logistic(NamedTuple):
    """f(x) = low + (high - low) / (1 + exp(-(x - centre) / width)), width > 0.

    The four-parameter curve of the video quality experts group (VQEG 2000), as DeQA-Score and the
    NTIRE challenges fit it before Pearson's correlation. high < low is a falling curve.
    """

    high: float
    low: float
    centre: float
    width: float

    def __call__(self, x: Any) -> np.ndarray:
        z = (np.asarray(x, dtype=np.float64) - self.centre) / self.width
        return self.low + (self.high - self.low) * 0.5 * (1.0 + np.tanh(0.5 * z))


def fit_logistic(scores: Any, opinions: Any) -> Logistic:
    """The curve of least squared error from scores [K] to opinions [K], K >= 5.

    Of several starts the best end is taken, one of them so wide that it is a straight line: the fit
    is never worse than the linear one. Both lists are standardised first, so that it does not
    depend on their units.

    Raises:
        ConfigError: see above, or K < 5. EvaluationError: scipy is not installed.
    """
    try:
        from scipy.optimize import least_squares
    except ImportError as error:
        raise EvaluationError("the logistic fit needs scipy: pip install scipy") from error
    linear = plcc(scores, opinions)  # checks both
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(opinions, dtype=np.float64)
    if x.size < 5:
        raise ConfigError(f"logistic fit: expected 5 images or more, found {x.size}")
    (x_mean, x_std), (y_mean, y_std) = (x.mean(), x.std()), (y.mean(), y.std())
    x, y = (x - x_mean) / x_std, (y - y_mean) / y_std
    sign = 1.0 if linear >= 0 else -1.0
    top, bottom = (y.max(), y.min()) if sign > 0 else (y.min(), y.max())
    # The slope of a logistic at its centre is (high - low) / (4 width).
    wide = 50.0
    line = 2.0 * wide * linear
    starts = [
        (top, bottom, np.quantile(x, q), width)
        for q in (0.1, 0.5, 0.9)
        for width in (0.1, 0.5, 2.0)
    ]
    starts.append((line, -line, 0.0, wide))

    def width_of(log_width: float) -> float:
        return float(np.exp(np.clip(log_width, -12.0, 12.0)))

    def residual(theta: np.ndarray) -> np.ndarray:
        return Logistic(theta[0], theta[1], theta[2], width_of(theta[3]))(x) - y

    def jacobian(theta: np.ndarray) -> np.ndarray:
        width = width_of(theta[3])
        z = (x - theta[2]) / width
        part = 0.5 * (1.0 + np.tanh(0.5 * z))
        slope = (theta[0] - theta[1]) * part * (1.0 - part)
        return np.stack([part, 1.0 - part, -slope / width, -slope * z], axis=1)

    ends = [
        least_squares(residual, (*start[:3], np.log(start[3])), jacobian, method="lm", max_nfev=500)
        for start in starts
    ]
    best = min(ends, key=lambda end: end.cost)
    high, low, centre, log_width = best.x
    return Logistic(
        float(high * y_std + y_mean),
        float(low * y_std + y_mean),
        float(centre * x_std + x_mean),
        float(width_of(log_width) * x_std),
    )


def plcc_after_logistic(scores: Any, opinions: Any) -> float:
    """Pearson's correlation of opinions with the fitted curve of the scores.

    The curve may fall, so a score that counts backwards does not show here: look at SRCC's sign.

    Raises:
        ConfigError, EvaluationError: as `fit_logistic`.
    """
    return plcc(fit_logistic(scores, opinions)(scores), opinions)


def partial_srcc(scores: Any, opinions: Any, given: Any) -> float:
    """Spearman's correlation of scores and opinions with what both share with `given` removed.

    Ranks x, y, z: (r_xy - r_xz r_yz) / sqrt((1 - r_xz^2) (1 - r_yz^2)). With alignment scores,
    alignment opinions and quality opinions it says how far the prompt is read: a scorer that knows
    quality alone gets 0, however high its plain SRCC.

    Raises:
        ConfigError: see above, or `given` orders one of the two exactly, so nothing is left.
    """
    r_xy, r_xz, r_yz = srcc(scores, opinions), srcc(scores, given), srcc(opinions, given)
    left = (1.0 - r_xz**2) * (1.0 - r_yz**2)
    if left < 1e-12:
        raise ConfigError("partial correlation: `given` has the same order as one of the lists")
    return float(np.clip((r_xy - r_xz * r_yz) / np.sqrt(left), -1.0, 1.0))


class GroupedSrcc(NamedTuple):
    """Mean over groups weighted by their size; `num_groups` counted, `num_skipped` too small."""

    value: float
    num_groups: int
    num_skipped: int
    by_group: dict[str, float]


def within_group_srcc(
    scores: Any, opinions: Any, groups: Sequence[str | None], *, at_least: int = 5
) -> GroupedSrcc:
    """SRCC inside each group (a generator), so that knowing which group is better gains nothing.

    Groups of fewer than `at_least` images, with constant lists, or named None are skipped.

    Raises:
        ConfigError: see above, or no group is left.
    """
    srcc(scores, opinions)
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(opinions, dtype=np.float64)
    by_group, sizes, skipped = {}, {}, 0
    for name, rows in _rows_by_label(groups, x.size).items():
        if name is None:
            continue
        try:
            if len(rows) < at_least:
                raise ConfigError("too few")
            by_group[name] = srcc(x[rows], y[rows])
            sizes[name] = len(rows)
        except ConfigError:
            skipped += 1
    if not by_group:
        raise ConfigError(
            f"within-group SRCC: expected a group of {at_least} images or more that are not all "
            "rated alike, found none"
        )
    total = sum(sizes.values())
    value = sum(by_group[name] * sizes[name] for name in by_group) / total
    return GroupedSrcc(float(value), len(by_group), skipped, by_group)


def group_means(opinions: Any, groups: Sequence[str | None]) -> np.ndarray:
    """[K] each image's mean opinion of its group: the oracle that knows the generator alone."""
    y = np.asarray(opinions, dtype=np.float64)
    means = np.empty_like(y)
    for rows in _rows_by_label(groups, y.size).values():
        means[rows] = y[rows].mean()
    return means


def tie_calibrated_accuracy(scores: Any, opinions: Any) -> float:
    """Share of pairs that are ordered as people order them, ties counted, in 0..1.

    Deutsch, Foster, Freitag, "Ties Matter" (EMNLP 2023), as GenAI-Bench reports it: two images are
    a tie for the scorer where their scores differ by at most epsilon, and the epsilon that serves
    it best is taken. Memory: about 12 K^2 bytes.

    Raises:
        ConfigError: see above.
    """
    srcc(scores, opinions)
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(opinions, dtype=np.float64)
    tied, right = [], []  # distances of scores: where people tie, and where the order is right
    for i in range(x.size - 1):
        dx, dy = x[i + 1 :] - x[i], y[i + 1 :] - y[i]
        tied.append(np.abs(dx[dy == 0]))
        right.append(np.abs(dx[dx * dy > 0]))
    tied, right = np.sort(np.concatenate(tied)), np.sort(np.concatenate(right))
    # Accuracy changes for the better only at distances of pairs that people tie, and at 0.
    epsilons = np.concatenate([[0.0], tied])
    correct = np.searchsorted(tied, epsilons, side="right") + (
        right.size - np.searchsorted(right, epsilons, side="right")
    )
    return float(correct.max() / (x.size * (x.size - 1) / 2))


def _rows_by_label(labels: Sequence[str | None], num_rows: int) -> dict[Any, np.ndarray]:
    if len(labels) != num_rows:
        raise ConfigError(f"groups: expected {num_rows} labels, found {len(labels)}")
    rows: dict[Any, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return {label: np.asarray(members) for label, members in rows.items()}
