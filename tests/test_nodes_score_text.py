"""What ELIQ Score says on its node, and which prompt goes with which image."""

from __future__ import annotations

import math

import pytest

from eliq_nodes.score_table import ScoreTable
from eliq_nodes.score_text import describe_scores, short_name, spread_prompts

NAN = math.nan


def test_one_image():
    table = ScoreTable((0.7351,), (0.5,), ("a fox",), critic="embedded")
    assert describe_scores(table) == "visual quality 0.735, alignment 0.500\nprompt: a fox"
    found = describe_scores(table, is_prompt_found=True)
    assert found.endswith("\nprompt found in the graph: a fox")


def test_without_a_prompt_alignment_is_not_mentioned_as_a_number():
    table = ScoreTable((0.7,), (NAN,), ("",), flags=(("no_prompt",),), critic="embedded")
    assert describe_scores(table) == "visual quality 0.700\nno prompt: no alignment"


def test_a_batch_has_means_of_what_was_scored_then_its_images():
    table = ScoreTable(
        (0.2, 0.4, NAN),
        (0.5, 0.7, NAN),
        ("a", "b", "b"),
        flags=((), ("constant_image", "prompt_truncated"), ()),
        errors=(None, None, "it has NaN"),
        critic="my critic",
    )
    assert describe_scores(table).splitlines() == [
        "3 images, mean: visual quality 0.300, alignment 0.600",
        "#0  visual quality 0.200, alignment 0.500",
        "#1  visual quality 0.400, alignment 0.700  (constant image, prompt truncated)",
        "#2  not scored: it has NaN",
        "2 prompts",
        "critic: my critic",
    ]


def test_a_long_prompt_is_one_short_line_and_a_large_batch_is_cut():
    table = ScoreTable((0.5,) * 100, (0.5,) * 100, ("word\n" * 500,) * 100, critic="embedded")
    lines = describe_scores(table).splitlines()
    assert lines[-2] == "and 68 more" and len(lines[-1]) < 140 and lines[-1].endswith("\u2026")


def test_a_commit_is_cut_and_another_name_is_not():
    assert short_name(f"owner/name@{'ab12' * 10}") == "owner/name@ab12ab12"
    assert short_name("my critic@home") == "my critic@home"


def test_nothing_scored_at_all():
    assert describe_scores(ScoreTable((), (), ())) == "no images"
    table = ScoreTable((NAN,), (NAN,), ("x",), errors=("why",), critic="embedded")
    assert describe_scores(table) == "not scored: why\nprompt: x"


@pytest.mark.parametrize(
    ("prompts", "sizes", "spread"),
    [
        (["a"], [2, 1], ["a", "a", "a"]),
        ([], [2], ["", ""]),
        (["a", "b", "c"], [3], ["a", "b", "c"]),
        (["a", "b"], [2, 1], ["a", "a", "b"]),  # one a batch
        (["a", "b"], [1, 1], ["a", "b"]),
        (["a"], [0], []),
    ],
)
def test_prompts_are_spread(prompts, sizes, spread):
    assert spread_prompts(prompts, sizes) == spread


def test_too_few_prompts_are_an_error_that_says_how_many():
    with pytest.raises(ValueError, match="expected 1 text for all images, or 3, .*found 2"):
        spread_prompts(["a", "b"], [3])
