"""Calibration without labels: a monotone map from a raw score to 0..1.

Fitted on held-out constructed pairs: the class "positive" against the class "constructed
negative". Both classes weigh the same whatever their sizes, so 0.5 is the raw score at which a
positive and a constructed negative are equally likely.

    p(raw) = sigmoid(slope * raw + offset),   slope > 0

The fit is Platt's (Platt 1999, "Probabilistic outputs for support vector machines"), with the
targets smoothed as there, and by Newton's method as Lin, Lin and Weng 2007 advise: without the
smoothing, classes that can be separated would send the slope to infinity.

Shapes: N positives, M negatives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Calibration", "fit_calibration"]

_MAX_STEPS = 100
_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Calibration:
    """Logistic map of one score: ``sigmoid(slope * raw + offset)``.

    Attributes:
        slope: > 0 and finite, so the order of images never changes.
        offset: finite; ``-offset / slope`` is the raw score that maps to 0.5.

    Raises:
        ConfigError: slope <= 0, or a value that is not a finite number.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slope", "offset"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                raise ConfigError(f"calibration {name}: expected a finite number, found {value!r}")
        if self.slope <= 0:
            raise ConfigError(
                f"calibration slope: expected > 0 (a map that keeps the order), found {self.slope}"
            )

    def __call__(self, raw: Tensor) -> Tensor:
        """Raw scores of any shape, any float dtype -> float32 in 0..1; NaN stays NaN.

        Computed in float32 on the device of ``raw``. Far from 0.5 float32 saturates: ranks
        should be read from the raw score, the calibrated one is for people and thresholds.
        """
        import torch  # here, so that the fit itself needs numpy alone

        return torch.sigmoid(raw.to(torch.float32) * self.slope + self.offset)

    @property
    def midpoint(self) -> float:
        """The raw score at which a positive and a negative are equally likely."""
        return -self.offset / self.slope

    def to_json(self) -> dict[str, float]:
        return {"slope": float(self.slope), "offset": float(self.offset)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Calibration:
        """Raises ConfigError on anything but exactly the keys ``slope`` and ``offset``."""
        if not isinstance(data, dict) or set(data) != {"slope", "offset"}:
            found = sorted(map(str, data)) if isinstance(data, dict) else type(data).__name__
            raise ConfigError(f"calibration: expected the keys offset and slope, found {found}")
        return cls(**data)


def fit_calibration(
    positive_raw: Any,
    negative_raw: Any,
    *,
    positive_weights: Any = None,
    negative_weights: Any = None,
) -> Calibration:
    """Fit the logistic map on raw scores of positives [N] and constructed negatives [M].

    Each class has total weight one half. Targets are Platt's: with an effective number n of
    samples in a class, (n+ + 1)/(n+ + 2) for positives and 1/(n- + 2) for negatives; the
    effective number (sum w)^2 / sum w^2 is the plain number when weights are equal. The fit is
    in float64 and deterministic.

    Args:
        positive_raw: [N] float, array-like or tensor, finite.
        negative_raw: [M] float, likewise.
        positive_weights: [N] >= 0, relative weight within the class; equal when None.
        negative_weights: [M], likewise.

    Raises:
        ConfigError: an empty class, non-finite values, bad weights, all scores equal, or
            positives that do not lie above negatives (the slope would be <= 0).
    """
    positive, positive_w, num_positive = _checked("positive", positive_raw, positive_weights)
    negative, negative_w, num_negative = _checked("negative", negative_raw, negative_weights)
    raw = np.concatenate([positive, negative])
    weight = np.concatenate([positive_w, negative_w])
    target = np.concatenate(
        [
            np.full(positive.size, (num_positive + 1.0) / (num_positive + 2.0)),
            np.full(negative.size, 1.0 / (num_negative + 2.0)),
        ]
    )
    # Standardising first makes Newton's starting point and tolerance independent of units.
    centre = float(weight @ raw)
    spread = math.sqrt(float(weight @ (raw - centre) ** 2))
    if not spread > 1e-12 * max(1.0, abs(centre)):
        raise ConfigError("calibration: all raw scores are equal, nothing tells the classes apart")
    slope, offset = _newton((raw - centre) / spread, target, weight)
    slope, offset = slope / spread, offset - slope * centre / spread
    if not slope > 0:
        raise ConfigError(
            f"calibration: expected positives to score above negatives, found slope {slope:.4g}; "
            "the score does not separate these pairs in the right direction"
        )
    return Calibration(slope=float(slope), offset=float(offset))


def _checked(name: str, values: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Float64 values, weights that sum to one half, effective number of samples."""
    values = _as_array(values)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ConfigError(
            f"calibration {name}_raw: expected at least one finite score in one dimension, "
            f"found shape {values.shape}"
        )
    weights = np.ones(values.size) if weights is None else _as_array(weights)
    bad = weights.shape != values.shape or not np.isfinite(weights).all()
    if bad or (weights < 0).any() or not weights.sum() > 0:
        raise ConfigError(
            f"calibration {name}_weights: expected {values.size} finite weights >= 0, "
            f"found shape {weights.shape}"
        )
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return values, 0.5 * weights / weights.sum(), effective


def _as_array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, of any device and dtype (bfloat16 has no numpy)
        values = values.detach().double().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def _newton(x: np.ndarray, target: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Minimise the weighted cross-entropy of sigmoid(a x + b); returns (a, b).

    The loss is strictly convex (targets lie inside 0..1, x is not constant), so damped Newton
    steps reach the one minimum.
    """
    design = np.stack([x, np.ones_like(x)], axis=1)  # [K, 2]
    theta = np.zeros(2)

    def loss(theta: np.ndarray) -> float:
        z = design @ theta
        return float(weight @ (np.logaddexp(0.0, z) - target * z))

    current = loss(theta)
    for _ in range(_MAX_STEPS):
        p = 0.5 * (1.0 + np.tanh(0.5 * (design @ theta)))  # sigmoid without overflow
        gradient = design.T @ (weight * (p - target))
        if np.abs(gradient).max() < _TOLERANCE:
            break
        curvature = weight * p * (1.0 - p)
        # The tiny ridge keeps the system solvable where every p has saturated.
        hessian = (design * curvature[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(theta - size * step) > current and size > 1e-8:
            size *= 0.5
        theta = theta - size * step
        updated = loss(theta)
        if current - updated <= 1e-15 * max(1.0, abs(current)):
            break
        current = updated
    return float(theta[0]), float(theta[1])
