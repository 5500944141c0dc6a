"""eliq.correlation: hand-computed values, scipy on random data with ties, and the error cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from eliq.correlation import bootstrap_interval, krcc, pairwise_accuracy, plcc, rank, srcc
from eliq.errors import ConfigError


def test_ranks_share_ties():
    np.testing.assert_array_equal(rank([10, 20, 20, 5]), [2.0, 3.5, 3.5, 1.0])


def test_hand_computed_values():
    a, b = [1, 2, 3, 4], [1, 3, 2, 4]
    assert srcc(a, b) == pytest.approx(0.8)  # 1 - 6 * 2 / 60
    assert krcc(a, b) == pytest.approx(4 / 6)  # 5 concordant, 1 discordant
    assert plcc([0, 1, 2], [0, 1, 5]) == pytest.approx(5 / math.sqrt(2 * 14))
    # With a tie in a: n0 = 6, one tie, 5 concordant: 5 / sqrt(5 * 6).
    assert krcc([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / math.sqrt(30))


def test_pairwise_accuracy_counts_ties_half():
    assert pairwise_accuracy([1, 2, 3, 4], [0, 2, 4, 1]) == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert pairwise_accuracy([1, 1], [1, 1]) == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_scipy_agrees_with_ties_present(seed):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 12, 60).astype(float), rng.normal(size=60).round(1)
    assert srcc(a, b) == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)
    assert plcc(a, b) == pytest.approx(stats.pearsonr(a, b).statistic, abs=1e-12)
    assert krcc(a, b) == pytest.approx(stats.kendalltau(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize("function", [srcc, plcc, krcc])
def test_range_symmetry_and_sign(function):
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=30), rng.normal(size=30)
    assert function(a, a) == pytest.approx(1.0)
    assert function(a, -a) == pytest.approx(-1.0)
    assert function(a, b) == pytest.approx(function(b, a))
    assert -1 <= function(a, b) <= 1


@pytest.mark.parametrize("function", [srcc, krcc])
def test_rank_correlations_ignore_monotone_maps(function):
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=30), rng.normal(size=30)
    assert function(np.exp(a), b) == pytest.approx(function(a, b))


def test_takes_tensors_and_extreme_units():
    a = torch.tensor([1.0, 2.0, 4.0], dtype=torch.bfloat16)
    assert plcc(a, a) == pytest.approx(1.0)
    assert plcc([1e200, 2e200, 3e200], [1, 2, 3]) == pytest.approx(1.0)


@pytest.mark.parametrize("function", [srcc, plcc, krcc])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 1, 1], [1, 2, 3], "constant"),
        ([1, 2, math.nan], [1, 2, 3], "finite"),
        ([1, 2, math.inf], [1, 2, 3], "finite"),
        ([1, 2], [1, 2, 3], "length"),
        ([1], [1], "length"),
        ([[1, 2]], [[1, 2]], "dimension"),
    ],
)
def test_errors(function, a, b, message):
    with pytest.raises(ConfigError, match=message):
        function(a, b)


def test_pairwise_accuracy_refuses_unscored_rows():
    with pytest.raises(ConfigError, match="finite"):
        pairwise_accuracy([1.0, math.nan], [0.0, 0.0])
    with pytest.raises(ConfigError, match="length"):
        pairwise_accuracy([], [])


def test_bootstrap_is_seeded_and_brackets_the_mean():
    values = np.random.default_rng(0).normal(3.0, 1.0, 400)
    low, high = bootstrap_interval(np.mean, values, seed=5)
    assert (low, high) == bootstrap_interval(np.mean, values, seed=5)
    assert low < values.mean() < high
    # The normal interval of a mean: 2 * 1.96 / sqrt(400).
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_bootstrap_keeps_rows_together():
    rng = np.random.default_rng(1)
    a = rng.normal(size=50)
    low, high = bootstrap_interval(srcc, a, 2 * a, num_resamples=50)
    assert low == pytest.approx(1.0) and high == pytest.approx(1.0)


def test_groups_widen_an_interval_of_repeated_rows():
    rng = np.random.default_rng(2)
    values, groups = np.repeat(rng.normal(size=20), 10), np.repeat(np.arange(20), 10)
    rows = bootstrap_interval(np.mean, values, num_resamples=300)
    whole = bootstrap_interval(np.mean, values, groups=groups, num_resamples=300)
    assert whole[1] - whole[0] > 2 * (rows[1] - rows[0])


def test_bootstrap_errors():
    with pytest.raises(ConfigError, match="confidence"):
        bootstrap_interval(np.mean, [1, 2], confidence=1.0)
    with pytest.raises(ConfigError, match="one length"):
        bootstrap_interval(srcc, [1, 2], [1, 2, 3])
    with pytest.raises(ConfigError, match="group labels"):
        bootstrap_interval(np.mean, [1, 2], groups=["a"])
    with pytest.raises(ConfigError, match="resamples"):
        bootstrap_interval(srcc, [1, 1], [1, 1])
