"""Re-roll stops at the first image that passes, and a rejection is no error."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from eliq.diffusion.best_of_n import best_of_n
from eliq.diffusion.reroll import reroll
from eliq.errors import ConfigError, DiffusionError
from tests.fake_pipeline import FakePipeline, FakeScorer, RejectingScorer


@pytest.fixture
def pipe():
    return FakePipeline()


def all_of(pipe, n=8, **options):
    """What every seed would score."""
    return best_of_n(pipe, "a", n, FakeScorer(), keep_images="all", **options).candidates


@pytest.mark.parametrize("name", ["visual_quality", "alignment"])
@pytest.mark.parametrize("keep", ["best", "all"])
def test_it_stops_at_the_first_that_passes(pipe, name, keep):
    candidates = all_of(FakePipeline())
    values = [getattr(c, name) for c in candidates]
    least = sorted(values)[5]
    expected = next(i for i, value in enumerate(values) if value >= least)
    result = reroll(pipe, "a", FakeScorer(), **{f"min_{name}": least}, keep_images=keep)
    assert result.passed and result.attempts == expected + 1 == len(pipe.calls)
    assert result.best.index == expected and result.best.seed == expected
    assert result.best.image.tobytes() == candidates[expected].image.tobytes()
    assert [c.seed for c in result] == list(range(expected + 1))


def test_both_minimums_must_be_reached(pipe):
    candidates = all_of(FakePipeline(), 12)
    least = {"min_visual_quality": 0.5, "min_alignment": 0.5}
    passing = [c.index for c in candidates if min(c.visual_quality, c.alignment) >= 0.5]
    result = reroll(pipe, "a", FakeScorer(), max_tries=12, **least)
    assert result.passed == bool(passing)
    assert result.attempts == (passing[0] + 1 if passing else 12)


def test_the_passing_image_is_the_best_even_where_a_rejected_one_scores_more(pipe):
    candidates = all_of(FakePipeline())
    order = sorted(candidates, key=lambda c: c.alignment)
    least = next(
        c.visual_quality for c in candidates[1:]
        if c.visual_quality > candidates[0].visual_quality
    )  # fmt: skip
    result = reroll(
        pipe, "a", FakeScorer(), min_visual_quality=least, combine=lambda q, a: -q, seed=0
    )
    assert order and result.passed and result.best.index == result.attempts - 1 > 0
    assert result.best.image is not None and result.candidates[0].image is None


@pytest.mark.parametrize("scorer", [FakeScorer(), RejectingScorer()])
def test_when_none_passes_the_best_so_far_comes_back(pipe, scorer, tmp_path):
    result = reroll(pipe, "a", scorer, min_visual_quality=1.0, min_alignment=1.0, max_tries=5)
    assert not result.passed and result.attempts == len(pipe.calls) == 5
    assert isinstance(result.best.image, Image.Image)
    assert result.best is not None and result.best.index == result.ranked[0].index
    assert result.best.image.tobytes() == all_of(pipe)[result.best.index].image.tobytes()
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found["passed"] is False and found["attempts"] == 5
    assert found["minimums"] == {"visual_quality": 1.0, "alignment": 1.0}
    result.contact_sheet(tmp_path / "tries.png")


def test_one_try(pipe):
    result = reroll(pipe, "a", FakeScorer(), min_visual_quality=0.0, max_tries=1, seed=3)
    assert result.passed and result.attempts == 1 and result.best.seed == 3


def test_images_with_nan_are_rejected_and_the_next_seed_is_tried(pipe):
    pipe.nan_seeds = {0, 1}
    result = reroll(pipe, "a", FakeScorer(), min_visual_quality=0.0)
    assert result.passed and result.best.index == 2


def test_every_prompt_has_its_own_tries(pipe):
    results = reroll(pipe, ["a", "a long prompt, " * 9], FakeScorer(), min_visual_quality=0.6)
    alone = [reroll(pipe, r.prompt, FakeScorer(), min_visual_quality=0.6) for r in results]
    assert [r.attempts for r in results] == [r.attempts for r in alone]
    assert isinstance(reroll(pipe, ["a"], FakeScorer(), min_visual_quality=0.6), list)


def test_latents_need_one_row_a_try(pipe):
    latents = torch.rand(3, 2, 2, 2)
    copy = latents.clone()
    reroll(pipe, "a", FakeScorer(), min_alignment=1.0, max_tries=3, latents=latents)
    assert torch.equal(latents, copy)
    with pytest.raises(DiffusionError, match="latents: expected a tensor with 8 rows"):
        reroll(pipe, "a", FakeScorer(), min_alignment=1.0, latents=latents[:1])


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"min_alignment": 1.5}, {"min_alignment": float("nan")}, {"min_visual_quality": "high"},
        {"min_visual_quality": True}, {"min_visual_quality": 0.5, "max_tries": 0},
        {"min_visual_quality": 0.5, "keep_images": "some"}, {"min_visual_quality": 0.5, "seed": -1},
        {"min_alignment": 0.5, "prompt": ""},
    ],
)  # fmt: skip
def test_wrong_choices_are_named_before_anything_runs(pipe, arguments):
    with pytest.raises(ConfigError, match="expected"):
        reroll(**{"pipe": pipe, "prompt": "a", "scorer": FakeScorer(), **arguments})
    assert not pipe.calls


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("CUDA error")])
def test_errors_of_the_pipeline_come_through(error):
    pipe = FakePipeline(fails_at=1, fails=error)
    with pytest.raises(type(error)) as caught:
        reroll(pipe, "a", FakeScorer(), min_visual_quality=1.0)
    assert caught.value is error and pipe.frees == 1
