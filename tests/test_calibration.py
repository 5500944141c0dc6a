"""eliq.calibration: equal odds at 0.5, order kept, separable classes stay finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eliq.calibration import Calibration, fit_calibration
from eliq.errors import ConfigError


def test_hand_computed_values():
    calibration = Calibration(slope=2.0, offset=-1.0)
    assert calibration.midpoint == 0.5
    out = calibration(torch.tensor([0.5, 0.5 + math.log(3) / 2]))
    torch.testing.assert_close(out, torch.tensor([0.5, 0.75]))


def test_two_scores_reach_the_smoothed_targets():
    # One sample a class: Platt's targets are 2/3 and 1/3; two parameters fit them exactly, so
    # slope * 1 = log 2.
    calibration = fit_calibration([1.0], [-1.0])
    assert calibration.slope == pytest.approx(math.log(2), rel=1e-6)
    assert calibration.offset == pytest.approx(0.0, abs=1e-9)


def test_separable_classes_stay_finite():
    calibration = fit_calibration(np.linspace(5, 6, 50), np.linspace(-6, -5, 50))
    assert math.isfinite(calibration.slope) and 0 < calibration.slope < 10


def test_class_balance_does_not_move_the_midpoint():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 4000), rng.normal(-1, 1, 4000)
    even = fit_calibration(positive, negative)
    uneven = fit_calibration(positive[:400], negative)
    # Two unit normals at +-1: the log odds are exactly 2 * raw.
    assert even.slope == pytest.approx(2.0, abs=0.15)
    assert even.midpoint == pytest.approx(0.0, abs=0.06)
    assert uneven.midpoint == pytest.approx(0.0, abs=0.12)


def test_units_of_the_raw_score_do_not_matter():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    small = fit_calibration(positive, negative)
    large = fit_calibration(1000 * positive + 7, 1000 * negative + 7)
    assert large.slope == pytest.approx(small.slope / 1000, rel=1e-5)
    assert large.midpoint == pytest.approx(1000 * small.midpoint + 7, rel=1e-4)


def test_weights_act_as_repetition_on_the_data_term():
    rng = np.random.default_rng(2)
    positive, negative = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
    twice = fit_calibration(np.repeat(positive, 2), np.repeat(negative, 2))
    kept = np.zeros(600)
    kept[:300] = 1
    ignored = fit_calibration(
        np.concatenate([positive, rng.normal(-9, 1, 300)]),
        negative,
        positive_weights=kept,
    )
    assert twice.midpoint == pytest.approx(ignored.midpoint, abs=0.02)


def test_is_the_minimum_scipy_finds():
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(3)
    positive, negative = rng.normal(0.5, 2, 40), rng.normal(-0.5, 1, 90)
    raw = np.concatenate([positive, negative])
    target = np.concatenate([np.full(40, 41 / 42), np.full(90, 1 / 92)])
    weight = np.concatenate([np.full(40, 0.5 / 40), np.full(90, 0.5 / 90)])

    def loss(theta):
        z = theta[0] * raw + theta[1]
        return weight @ (np.logaddexp(0, z) - target * z)

    best = optimize.minimize(loss, [1.0, 0.0], tol=1e-14)
    fitted = fit_calibration(positive, negative)
    np.testing.assert_allclose([fitted.slope, fitted.offset], best.x, atol=1e-5)


def test_monotone_in_range_and_nan_stays_nan():
    calibration = fit_calibration(torch.randn(20).bfloat16() + 1, torch.randn(20) - 1)
    out = calibration(torch.linspace(-4, 4, 33, dtype=torch.float64))
    assert out.dtype == torch.float32
    assert (out.diff() > 0).all() and out.min() >= 0 and out.max() <= 1
    assert calibration(torch.tensor([float("nan")])).isnan().all()


def test_json_round_trip_is_exact():
    calibration = Calibration(slope=0.1 + 0.2, offset=-1 / 3)
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize(
    "arguments",
    [{"slope": 0.0}, {"slope": -1.0}, {"slope": math.nan}, {"offset": math.inf}, {"slope": "1"}],
)
def test_refuses_what_is_not_a_monotone_map(arguments):
    with pytest.raises(ConfigError):
        Calibration(**arguments)


@pytest.mark.parametrize("data", [{}, {"slope": 1.0}, {"slope": 1, "offset": 0, "x": 1}, None])
def test_json_is_strict(data):
    with pytest.raises(ConfigError):
        Calibration.from_json(data)


@pytest.mark.parametrize(
    ("positive", "negative", "message"),
    [
        ([0.0, 1.0], [2.0, 3.0], "above"),
        ([1.0, 1.0], [1.0], "equal"),
        ([], [1.0], "positive_raw"),
        ([1.0], [math.nan], "negative_raw"),
        ([[1.0]], [0.0], "positive_raw"),
    ],
)
def test_refuses_scores_that_cannot_be_calibrated(positive, negative, message):
    with pytest.raises(ConfigError, match=message):
        fit_calibration(positive, negative)


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 2.0], [0.0, 0.0], [1.0, math.inf]])
def test_refuses_bad_weights(weights):
    with pytest.raises(ConfigError, match="positive_weights"):
        fit_calibration([1.0, 2.0], [0.0], positive_weights=weights)
