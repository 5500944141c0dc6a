"""How ELIQ Pick Best ranks, and in what words it says so."""

from __future__ import annotations

import math

import pytest

from eliq.diffusion.ranking import combine_scores, rank_order
from eliq_nodes.picks import RANKINGS, describe_picks, weights_of

QUALITY = [0.9, 0.2, 0.6, math.nan, 0.5]
ALIGNMENT = [0.1, 0.8, 0.6, 0.9, math.nan]


@pytest.mark.parametrize(
    ("ranking", "expected"),
    [
        ("mean", [2, 0, 1, 4, 3]),  # 0.6, 0.5, 0.5, 0.5 (alone), none: equals keep their order
        ("min", [2, 4, 1, 0, 3]),
        ("visual_quality", [0, 2, 4, 1, 3]),
        ("alignment", [1, 2, 4, 0, 3]),
        ("weighted", [1, 2, 4, 0, 3]),
    ],
)
def test_rankings(ranking, expected):
    how = weights_of(ranking, alignment_weight=0.9)
    assert rank_order(combine_scores(QUALITY, ALIGNMENT, how)) == expected


def test_weights_of_half_are_the_mean():
    by_weight = combine_scores(QUALITY[:3], ALIGNMENT[:3], weights_of("weighted", 0.5))
    assert by_weight == pytest.approx(combine_scores(QUALITY[:3], ALIGNMENT[:3], "mean"))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_of_all_is_one_score_alone(share):
    alone = weights_of("alignment" if share else "visual_quality")
    assert combine_scores(QUALITY[:3], ALIGNMENT[:3], weights_of("weighted", share)) == (
        combine_scores(QUALITY[:3], ALIGNMENT[:3], alone)
    )


def test_every_ranking_is_known_to_the_library():
    for ranking in RANKINGS:
        assert len(combine_scores(QUALITY, ALIGNMENT, weights_of(ranking))) == 5


def test_what_is_refused():
    with pytest.raises(ValueError, match="combine: expected one of mean, min"):
        weights_of("best")
    for wrong in (-0.1, 1.5, math.nan):
        with pytest.raises(ValueError, match="alignment_weight: expected a number from 0 to 1"):
            weights_of("weighted", wrong)


def test_words():
    columns = {"visual_quality": QUALITY, "alignment": ALIGNMENT}
    assert describe_picks([2, 4], **columns, wanted=2).splitlines() == [
        "best 2 of 5",
        "#2: visual quality 0.600, alignment 0.600",
        "#4: visual quality 0.500, alignment none",
    ]
    first = describe_picks([2, 0, 1, 4, 3], **columns, wanted=9).splitlines()[0]
    assert first == "all 5: 9 asked for, the batch holds no more"
