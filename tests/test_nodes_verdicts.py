"""Which images pass the thresholds of ELIQ Gate, and in what words it says so."""

from __future__ import annotations

import math

import pytest

from eliq_nodes.verdicts import describe_verdicts, join_positions, judge, split_positions

NONE = math.nan
QUALITY = [0.9, 0.2, 0.5, NONE]
ALIGNMENT = [0.1, 0.8, NONE, NONE]


def accepted(**thresholds: float) -> list[int]:
    return split_positions(judge(QUALITY, ALIGNMENT, **thresholds))[0]


def test_a_score_passes_at_its_threshold():
    assert accepted(min_visual_quality=0.5) == [0, 2]


def test_zero_is_off_even_for_an_image_without_scores():
    assert accepted() == [0, 1, 2, 3]
    assert accepted(min_alignment=0.0, min_visual_quality=0.1) == [0, 1, 2]


def test_a_missing_alignment_passes_only_while_alignment_is_off():
    assert accepted(min_alignment=0.05) == [0, 1]
    assert accepted(min_alignment=1e-9) == [0, 1]


def test_both_thresholds_must_be_reached():
    assert accepted(min_visual_quality=0.5, min_alignment=0.5) == []


def test_every_image_is_on_one_side_and_in_order():
    for quality in (0.0, 0.3, 0.5, 1.0):
        sides = split_positions(judge(QUALITY, ALIGNMENT, min_visual_quality=quality))
        assert sorted(sides[0] + sides[1]) == [0, 1, 2, 3]
        assert all(side == sorted(side) for side in sides)


def test_a_higher_threshold_never_accepts_more():
    counts = [len(accepted(min_visual_quality=step / 10)) for step in range(11)]
    assert counts == sorted(counts, reverse=True)


def test_words():
    text = describe_verdicts(judge(QUALITY, ALIGNMENT, min_visual_quality=0.5, min_alignment=0.3))
    assert text.splitlines() == [
        "0 accepted, 4 rejected",
        "#0: alignment 0.100 is below 0.300",
        "#1: visual quality 0.200 is below 0.500",
        "#2: no alignment, 0.300 asked for",
        "#3: no visual quality, 0.500 asked for, no alignment, 0.300 asked for",
    ]


def test_words_tell_apart_what_three_decimals_do_not():
    (verdict,) = judge([0.49996], [NONE], min_visual_quality=0.5)
    assert verdict.reasons == ("visual quality 0.499960 is below 0.500000",)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["min_visual_quality", "min_alignment"])
def test_thresholds_outside_are_refused(name, wrong):
    with pytest.raises(ValueError, match=f"{name}: expected a number from 0"):
        judge(QUALITY, ALIGNMENT, **{name: wrong})


def test_parts_of_two_lengths_are_refused():
    with pytest.raises(ValueError, match="as many alignments"):
        judge([0.5], [])


def test_no_images():
    assert judge([], []) == []
    assert join_positions([]) == ""
    assert join_positions([0, 2, 5]) == "0,2,5"
