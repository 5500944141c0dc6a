"""Combinations of the two scores by hand, and their order."""

from __future__ import annotations

import math
import random

import pytest

from eliq.diffusion.ranking import combine_scores, describe_combination, rank_order
from eliq.errors import ConfigError

NAN = math.nan


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", [0.5, 0.5]),
        ("min", [0.2, 0.4]),
        ({"visual_quality": 1, "alignment": 3}, [0.65, 0.45]),
        ({"alignment": 2.0}, [0.8, 0.4]),
        (lambda quality, alignment: quality * alignment, [0.16, 0.24]),
        (max, [0.8, 0.6]),
    ],
)
def test_by_hand(how, expected):
    assert combine_scores([0.2, 0.6], [0.8, 0.4], how) == pytest.approx(expected)


@pytest.mark.parametrize("how", ["mean", "min", {"alignment": 1}, lambda q, a: (q + a) / 2])
def test_without_alignment_quality_counts_and_without_quality_nothing(how):
    first, second, third = combine_scores([0.7, NAN, NAN], [NAN, 0.9, NAN], how)
    assert first == 0.7 and math.isnan(second) and math.isnan(third)


def test_a_function_may_judge_a_missing_alignment_itself():
    found = combine_scores([0.7], [NAN], lambda q, a: 0.1 if math.isnan(a) else q)
    assert found == [0.1]


def test_order_is_best_first_with_nan_last_and_ties_in_input_order():
    assert rank_order([0.1, NAN, 0.9, 0.1, NAN, 0.5]) == [2, 5, 0, 3, 1, 4]
    assert rank_order([]) == [] and rank_order([NAN]) == [0]


def test_order_does_not_depend_on_the_order_of_the_input():
    scores = [0.11, 0.52, 0.33, NAN, 0.94]
    expected = sorted((s for s in scores if s == s), reverse=True)
    for seed in range(20):
        shuffled = random.Random(seed).sample(scores, len(scores))
        assert [shuffled[i] for i in rank_order(shuffled)][:4] == expected


def test_mean_and_min_are_symmetric_and_monotone():
    pairs = [(random.Random(i).random(), random.Random(-i - 1).random()) for i in range(50)]
    for how in ("mean", "min"):
        for quality, alignment in pairs:
            there = combine_scores([quality], [alignment], how)
            back = combine_scores([alignment], [quality], how)
            better = combine_scores([quality + 0.1], [alignment], how)
            assert there == back and better >= there


@pytest.mark.parametrize(
    "how",
    [
        "max", None, 3, {}, {"quality": 1}, {"alignment": -1, "visual_quality": 2},
        {"alignment": 0}, {"alignment": NAN}, {"alignment": "1"}, {"alignment": True},
    ],
)  # fmt: skip
def test_wrong_combinations_are_named(how):
    with pytest.raises(ConfigError, match="combine: expected"):
        combine_scores([0.5], [0.5], how)


def test_wrong_functions_and_lengths_are_named():
    with pytest.raises(ConfigError, match="function of two numbers"):
        combine_scores([0.5], [0.5], lambda quality: quality)
    with pytest.raises(ConfigError, match="function of two numbers"):
        combine_scores([0.5], [0.5], lambda q, a: "high")
    with pytest.raises(ConfigError, match="as many"):
        combine_scores([0.5], [0.5, 0.6])


def test_every_combination_has_words():
    assert describe_combination("mean") == "the mean of both scores"
    assert describe_combination("min") == "the lower of both scores"
    words = describe_combination({"visual_quality": 1, "alignment": 2.5})
    assert words == "the weighted mean of 1 visual quality and 2.5 alignment"
    assert describe_combination(max) == "the function max"
