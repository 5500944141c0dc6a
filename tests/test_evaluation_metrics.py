"""training.evaluation: metrics by hand and against scipy, splits, the paper's figures."""

from __future__ import annotations

import itertools
import math
import warnings

import numpy as np
import pytest

from eliq.correlation import plcc, srcc
from eliq.errors import ConfigError
from training.evaluation.config import EvaluationConfig
from training.evaluation.measure import compare, measure, oracles
from training.evaluation.metrics import (
    Logistic,
    fit_logistic,
    group_means,
    partial_srcc,
    plcc_after_logistic,
    tie_calibrated_accuracy,
    within_group_srcc,
)
from training.evaluation.published import LABELS, published
from training.evaluation.rated import RatedImage
from training.evaluation.splits import grouped_split, grouped_splits, other_group

pytest.importorskip("scipy")


def lists(seed, number=80):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=number)
    return a, 0.6 * a + rng.normal(size=number), rng


def test_the_logistic_curve_by_hand():
    curve = Logistic(high=5.0, low=1.0, centre=2.0, width=0.5)
    assert curve(2.0) == pytest.approx(3.0)
    assert curve(2.5) == pytest.approx(1 + 4 / (1 + math.exp(-1)))
    assert curve([-1e6, 1e6]) == pytest.approx([1.0, 5.0])


def test_the_fit_finds_the_curve_that_made_the_data():
    rng = np.random.default_rng(0)
    truth = Logistic(90.0, 10.0, 0.3, 0.4)
    x = rng.normal(size=400)
    found = fit_logistic(x, truth(x))
    assert found == pytest.approx(truth, rel=1e-4)
    assert plcc_after_logistic(x, truth(x)) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_as_good_as_scipys_curve_fit(seed):
    from scipy.optimize import OptimizeWarning, curve_fit

    x, y, _ = lists(seed)

    def vqeg(x, b1, b2, b3, b4):
        return b2 + (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4)))

    with np.errstate(over="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)
        try:
            best, _ = curve_fit(vqeg, x, y, [y.max(), y.min(), x.mean(), 0.5], maxfev=20_000)
        except RuntimeError:
            pytest.skip("curve_fit does not converge on this draw")
        theirs = np.sum((vqeg(x, *best) - y) ** 2)
    ours = np.sum((fit_logistic(x, y)(x) - y) ** 2)
    assert ours <= theirs * (1 + 1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_does_not_depend_on_units_and_beats_a_line(seed):
    x, y, _ = lists(seed)
    fitted = plcc_after_logistic(x, y)
    assert fitted >= plcc(x, y) - 1e-4
    assert plcc_after_logistic(1000 * x - 7, 0.01 * y) == pytest.approx(fitted, abs=1e-6)
    assert plcc_after_logistic(-x, y) == pytest.approx(fitted, abs=1e-6)


def test_the_fit_needs_images_and_scores_that_differ():
    with pytest.raises(ConfigError, match="5 images"):
        fit_logistic([1, 2, 3, 4], [1, 2, 3, 5])
    with pytest.raises(ConfigError, match="constant"):
        fit_logistic([1] * 6, range(6))


@pytest.mark.parametrize("seed", range(3))
def test_partial_srcc_is_the_correlation_of_residual_ranks(seed):
    """The definition by regression, with scipy's ranks."""
    stats = pytest.importorskip("scipy.stats")
    a, b, rng = lists(seed)
    c = a + b + rng.normal(size=a.size)
    ranks = [stats.rankdata(v) - (a.size + 1) / 2 for v in (a, b, c)]
    x, y = (r - ranks[2] * (r @ ranks[2]) / (ranks[2] @ ranks[2]) for r in ranks[:2])
    assert partial_srcc(a, b, c) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)


def test_partial_srcc_by_hand():
    # Without ties Spearman is 1 - 6 sum d^2 / 60: d^2 is 2, 10 and 4.
    x, y, z = [1, 2, 3, 4], [1, 3, 2, 4], [2, 4, 1, 3]
    r_xy, r_xz, r_yz = 1 - 12 / 60, 1 - 6 * 10 / 60, 1 - 6 * 4 / 60
    expected = (r_xy - r_xz * r_yz) / math.sqrt((1 - r_xz**2) * (1 - r_yz**2))
    assert partial_srcc(x, y, z) == pytest.approx(expected)


def test_a_scorer_that_knows_quality_alone_has_no_partial_srcc():
    rng = np.random.default_rng(1)
    quality = rng.normal(size=4000)
    alignment = quality + rng.normal(size=4000)
    scores = quality + rng.normal(size=4000)
    assert srcc(scores, alignment) > 0.4
    assert abs(partial_srcc(scores, alignment, quality)) < 0.05
    with pytest.raises(ConfigError, match="same order"):
        partial_srcc(quality, alignment, quality)


def test_within_group_srcc_by_hand():
    scores = [1, 2, 3, 4, 10, 20, 30, 40, 50, 60, 7]
    opinions = [1, 2, 3, 4, 60, 50, 40, 30, 20, 10, 7]
    groups = ["a"] * 4 + ["b"] * 6 + ["c"]
    found = within_group_srcc(scores, opinions, groups, at_least=3)
    assert found.by_group == {"a": pytest.approx(1.0), "b": pytest.approx(-1.0)}
    assert found.value == pytest.approx((4 - 6) / 10)
    assert (found.num_groups, found.num_skipped) == (2, 1)


def test_knowing_the_generator_gains_nothing_within_it():
    rng = np.random.default_rng(2)
    level = np.repeat([0.0, 5.0, 10.0], 100)
    opinions, scores = level + rng.normal(size=300), level + rng.normal(size=300)
    groups = [str(v) for v in level]
    assert srcc(scores, opinions) > 0.85
    assert abs(within_group_srcc(scores, opinions, groups).value) < 0.2
    assert srcc(group_means(opinions, groups), opinions) > 0.85
    with pytest.raises(ConfigError, match="within-group"):
        within_group_srcc(scores, opinions, [None] * 300)


@pytest.mark.parametrize("seed", range(5))
def test_tie_calibrated_accuracy_against_every_epsilon(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 8, 22).astype(float), rng.integers(1, 5, 22).astype(float)
    pairs = [(x[i] - x[j], y[i] - y[j]) for i, j in itertools.combinations(range(22), 2)]
    best = max(
        np.mean([np.sign(b) == (0 if abs(a) <= epsilon else np.sign(a)) for a, b in pairs])
        for epsilon in {0.0} | {abs(a) for a, _ in pairs}
    )
    assert tie_calibrated_accuracy(x, y) == pytest.approx(best)


def test_splits_keep_groups_whole_and_are_seeded():
    groups = [f"p{i % 30}" for i in range(300)]
    chosen = grouped_split(groups, 0.2, seed=3)
    assert chosen.sum() == 60
    inside = {group for group, is_in in zip(groups, chosen, strict=True) if is_in}
    outside = {group for group, is_in in zip(groups, chosen, strict=True) if not is_in}
    assert not inside & outside
    backwards = grouped_split(groups[::-1], 0.2, seed=3)[::-1]
    np.testing.assert_array_equal(chosen, backwards)
    draws = grouped_splits(groups, num_splits=5, share=0.2)
    assert len({draw.tobytes() for draw in draws}) == 5
    with pytest.raises(ConfigError, match="2 groups"):
        grouped_split(["a", "a"], 0.5)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        grouped_split(groups, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_every_image_gets_the_prompt_of_another_group(seed):
    rng = np.random.default_rng(seed)
    groups = [str(g) for g in rng.integers(0, 9, 60)]
    partner = other_group(groups, seed=seed)
    assert sorted(partner) == list(range(60))
    assert all(groups[i] != groups[p] for i, p in enumerate(partner))


def test_one_prompt_on_most_images_cannot_be_shuffled():
    with pytest.raises(ConfigError, match="more than half"):
        other_group(["a", "a", "b"])


def rated(number=60, seed=0):
    rng = np.random.default_rng(seed)
    quality = rng.normal(size=number)
    alignment = 0.5 * quality + rng.normal(size=number)
    return [
        RatedImage(
            id=str(i), path=None, quality=quality[i], alignment=alignment[i],
            prompt=f"prompt {i % 12}", generator="ab"[i % 2],
        )
        for i in range(number)
    ]  # fmt: skip


def test_measure_brings_every_number_of_the_tables():
    images = rated()
    config = EvaluationConfig(num_resamples=100, num_splits=4)
    scores = [image.alignment + 0.5 * image.quality for image in images]
    found = measure(scores, images, "alignment", config, set_name="genai_bench")
    assert found["srcc"] == pytest.approx(srcc(scores, [i.alignment for i in images]))
    assert found["srcc_interval"][0] < found["srcc"] < found["srcc_interval"][1]
    assert found["plcc_logistic"] >= found["plcc"] - 1e-4
    assert 0 < found["partial_srcc"] <= 1 and 0.5 < found["pairwise_accuracy"] <= 1
    assert found["num_groups"] == 12 and set(found["srcc_by_generator"]) == {"a", "b"}
    assert found["splits"]["num_splits"] == 4 and not found["undefined"]
    assert set(oracles(images, "alignment")) == {"generator_mean", "quality"}
    assert set(oracles(images, "quality")) == {"generator_mean"}


def test_what_is_not_defined_is_none_and_says_why():
    images = [RatedImage(id=str(i), path=None, quality=float(i)) for i in range(8)]
    found = measure([1.0] * 8, images, "quality", EvaluationConfig(num_resamples=20))
    assert found["srcc"] is found["plcc_logistic"] is found["within_generator_srcc"] is None
    assert "constant" in found["undefined"]["srcc"]
    assert not oracles(images, "quality")
    assert compare([1.0] * 8, [2.0] * 8, images, "quality", EvaluationConfig()) is None


def test_compare_is_paired():
    images = rated()
    good, bad = [i.quality for i in images], [-i.quality for i in images]
    config = EvaluationConfig(num_resamples=50)
    found = compare(good, bad, images, "quality", config)
    assert found["srcc_difference"] == pytest.approx(2.0)
    assert found["interval"] == pytest.approx([2.0, 2.0])


def test_the_papers_own_figures():
    """Values printed in sections 4.2.1 and 4.2.2 of the paper, not only in its tables."""

    def ours(name, opinion, labels):
        rows = published(name, opinion)
        return next(r.srcc for r in rows if r.method == "ELIQ" and r.labels == labels)

    free = {"agiqa_3k": 0.801, "aigciqa2023": 0.767, "aigiqa_20k": 0.786, "koniq_10k": 0.818,
            "spaq": 0.842}  # fmt: skip
    some = {"agiqa_3k": 0.876, "aigciqa2023": 0.837, "aigiqa_20k": 0.856, "koniq_10k": 0.912,
            "spaq": 0.915}  # fmt: skip
    for name in free:
        assert ours(name, "quality", "none") == free[name]
        assert ours(name, "quality", "some") == some[name]
        assert len(published(name, "quality")) == 22
    assert ours("agiqa_3k", "alignment", "none") == 0.717
    assert ours("aigciqa2023", "alignment", "none") == 0.712
    assert len(published("agiqa_3k", "alignment")) == 14
    assert published("genai_bench", "alignment") == [] == published("spaq", "alignment")
    assert [row.labels for row in published("spaq", "quality")] == sorted(
        (row.labels for row in published("spaq", "quality")), key=list(LABELS).index
    )


def test_config_checks_itself():
    config = EvaluationConfig(split="test", max_images=5)
    assert EvaluationConfig.from_json(config.to_json()) == config
    for wrong in ({"num_resamples": 0}, {"confidence": 1.0}, {"test_share": 0}, {"max_images": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            EvaluationConfig.from_json(wrong)
    with pytest.raises(ConfigError, match="no setting"):
        EvaluationConfig.from_json({"splits": 3})
