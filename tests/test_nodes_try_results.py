"""Whether a try passes, and which of several is the best."""

from __future__ import annotations

import math

import pytest

from eliq_nodes.try_results import PASS_RULES, Thresholds, judge_try

ANY, ALL = PASS_RULES
BOTH = Thresholds(min_visual_quality=0.5, min_alignment=0.5)


def test_one_image():
    result = judge_try([0.7], [0.6], BOTH, 2)
    assert (result.is_passed, result.number) == (True, 2)
    assert result.describe() == "visual quality 0.700, alignment 0.600"
    assert not judge_try([0.7], [0.4], BOTH, 0).is_passed
    assert not judge_try([0.7], [math.nan], BOTH, 0).is_passed


def test_rules_for_batches():
    quality, aligned = [0.9, 0.2], [0.9, 0.9]
    assert judge_try(quality, aligned, BOTH, 0).is_passed
    worst = judge_try(quality, aligned, Thresholds(0.5, 0.5, ALL), 0)
    assert not worst.is_passed
    assert worst.visual_quality == 0.2


def test_the_best_is_the_nearest_to_passing():
    near = judge_try([0.49], [0.49], BOTH, 0)
    far = judge_try([0.99], [0.3], BOTH, 1)  # the higher mean, but further from its threshold
    assert max(near, far) is near


def test_a_threshold_that_is_off_does_not_decide_but_the_mean_does():
    only_quality = Thresholds(min_visual_quality=0.5)
    low = judge_try([0.3], [0.9], only_quality, 0)
    high = judge_try([0.4], [0.1], only_quality, 1)
    assert max(low, high) is high
    off = Thresholds()
    assert max(judge_try([0.3], [0.9], off, 0), judge_try([0.4], [0.1], off, 1)).number == 0


def test_of_equals_the_earlier_and_unscored_last():
    tries = [judge_try([0.4], [math.nan], Thresholds(0.5), number) for number in range(3)]
    assert max(tries).number == 0
    unscored = judge_try([math.nan], [math.nan], Thresholds(0.5), 0)
    assert max(unscored, judge_try([0.01], [math.nan], Thresholds(0.5), 1)).number == 1
    assert unscored.describe() == "visual quality not scored"


def test_refusals():
    with pytest.raises(ValueError, match="pass_rule"):
        judge_try([0.5], [0.5], Thresholds(pass_rule="some"), 0)
    with pytest.raises(ValueError, match="empty batch"):
        judge_try([], [], BOTH, 0)
