"""The scale of a new critic, linked to that of the old one by what both give to the anchors.

Losses of ranking fix no scale, so a threshold chosen on one critic means nothing on another. As in
the equating of tests by anchor items (mean-sigma equating; Kolen and Brennan, "Test Equating,
Scaling, and Linking"), the new raw score is stretched and shifted to the mean and the standard
deviation of the old one on the anchors. Unlike a regression this treats both alike and does not
pull scores to the middle. The map is increasing, so it changes no order, and it stays in the form
of a `Calibration`, so the linked critic is a checkpoint like any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eliq.calibration import Calibration
from eliq.correlation import srcc
from eliq.errors import ConfigError

__all__ = ["ScaleLink", "calibrated", "link_scales"]

_NUM_KNOTS = 21


@dataclass(frozen=True)
class ScaleLink:
    """From the new raw score to the old scale.

    Attributes:
        slope, offset: old raw = slope x new raw + offset, slope > 0.
        calibration: new raw -> 0..1 on the old scale.
        srcc: of old and new raw scores on the anchors; the link is worth what this is.
        rms: root mean square of the difference of linked and old 0..1 scores on the anchors.
        knots: [[new raw, old raw], ...] at equal quantiles (equipercentile equating): the map
            without the assumption of a line.
        bend: largest difference of the two maps at the knots, in 0..1 scores of the old scale.
    """

    slope: float
    offset: float
    calibration: Calibration
    srcc: float
    rms: float
    knots: list[list[float]]
    bend: float

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "calibration": self.calibration.to_json()}


def link_scales(old_raw: Any, new_raw: Any, old: Calibration) -> ScaleLink:
    """Links by raw scores [K] of both critics on the same anchors.

    Raises:
        ConfigError: constant or non-finite scores, or orders that run against each other: then
            no increasing map brings the two together.
    """
    order = srcc(old_raw, new_raw)  # checks both
    x, y = np.asarray(new_raw, dtype=np.float64), np.asarray(old_raw, dtype=np.float64)
    if order <= 0:
        raise ConfigError(
            f"linking: expected both critics to order the anchors alike, found SRCC {order:.3f}"
        )
    slope = float(y.std() / x.std())
    offset = float(y.mean() - slope * x.mean())
    linked = Calibration(slope * old.slope, offset * old.slope + old.offset)
    quantiles = np.linspace(0.0, 1.0, min(_NUM_KNOTS, len(x)))
    at_new, at_old = np.quantile(x, quantiles), np.quantile(y, quantiles)
    bend = np.abs(calibrated(linked, at_new) - calibrated(old, at_old)).max()
    return ScaleLink(
        slope,
        offset,
        linked,
        float(order),
        float(np.sqrt(np.mean((calibrated(linked, x) - calibrated(old, y)) ** 2))),
        [[float(a), float(b)] for a, b in zip(at_new, at_old, strict=True)],
        float(bend),
    )


def calibrated(calibration: Calibration, raw: np.ndarray) -> np.ndarray:
    """What a `Calibration` gives, in float64: [K] -> [K] in 0..1."""
    return 0.5 * (1.0 + np.tanh(0.5 * (raw * calibration.slope + calibration.offset)))
