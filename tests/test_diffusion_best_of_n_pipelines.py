"""Best of N on pipelines of many kinds: families, modular, compiled, pruned."""

from __future__ import annotations

import json
import math

import pytest
import torch

from eliq.diffusion.best_of_n import best_of_n
from eliq.diffusion.record import regenerate
from tests.fake_pipeline import FakeScorer
from tests.rounding import IMAGE_ROUNDING
from tests.scored_runs import modular
from tests.tiny_pipelines import TINY_PIPELINES


@pytest.fixture(scope="module")
def sd15():
    return TINY_PIPELINES["sd15"]()


def test_pruned_candidates_say_when_and_survivors_are_those_of_the_whole_run(sd15, tiny_scorer):
    pipe, arguments = sd15
    options = {"keep_images": "all", "output_type": "pt", **arguments, "num_inference_steps": 8}
    whole = best_of_n(pipe, "a red fox", 4, tiny_scorer, **options)
    found = best_of_n(pipe, "a red fox", 4, tiny_scorer, prune=True, **options)
    survivors = [c for c in found if c.pruned_at is None]
    assert 1 <= len(survivors) < 4 and found.best in survivors
    for one in survivors:
        assert torch.allclose(one.image, whole.candidates[one.index].image, atol=IMAGE_ROUNDING)
        assert one.record["prune"] and one.previews
    gone = [c for c in found if c.pruned_at is not None]
    assert all(c.image is None and math.isnan(c.score) and c.previews for c in gone)
    last = [c.pruned_at for c in found.ranked if c.pruned_at is not None]
    assert last == sorted(last, reverse=True)
    assert found.savings["denoiser_rows"] < found.savings["denoiser_rows_unpruned"]
    json.dumps(found.to_json(), allow_nan=False)
    again = regenerate(pipe, gone[0].record, output_type="pt")
    assert torch.equal(again, whole.candidates[gone[0].index].image)


def test_one_candidate_is_never_pruned(sd15, tiny_scorer):
    pipe, arguments = sd15
    result = best_of_n(pipe, "a", 1, tiny_scorer, prune=True, **arguments)
    assert result.best.pruned_at is None and result.best.image is not None


def families(chosen):
    return [
        pytest.param(name, marks=() if name in chosen else pytest.mark.slow)
        for name in TINY_PIPELINES
    ]


@pytest.mark.parametrize("name", families({"sdxl", "flux", "lumina2", "z_image"}))
def test_families_seeds_are_reproducible_alone(name, tiny_scorer):
    pipe, arguments = TINY_PIPELINES[name]()
    options = {"keep_images": "all", "output_type": "pt", "seed": 40, **arguments}
    alone = best_of_n(pipe, "a red fox", 3, tiny_scorer, **options)
    batch = best_of_n(pipe, "a red fox", 3, tiny_scorer, batch_size=3, **options)
    assert not torch.allclose(alone.candidates[0].image, alone.candidates[1].image, atol=1e-2)
    for one, other in zip(alone, batch, strict=True):
        assert torch.allclose(one.image, other.image, atol=IMAGE_ROUNDING)
    again = regenerate(pipe, batch.candidates[2].record, output_type="pt")
    assert torch.equal(again, alone.candidates[2].image)


def test_a_modular_pipeline():
    from diffusers.modular_pipelines import StableDiffusionXLAutoBlocks

    plain, arguments = TINY_PIPELINES["sdxl"]()
    blocks = StableDiffusionXLAutoBlocks().get_workflow("text2image")
    pipe = blocks.init_pipeline()
    known = set(pipe.components)
    pipe.update_components(**{n: c for n, c in plain.components.items() if n in known})
    pipe.set_progress_bar_config(disable=True)
    options = {"keep_images": "all", "output_type": "pt", **arguments}
    alone = best_of_n(pipe, "a red fox", 2, FakeScorer(), **options)
    batch = best_of_n(pipe, "a red fox", 2, FakeScorer(), batch_size=2, **options)
    for one, other in zip(alone, batch, strict=True):
        assert torch.allclose(one.image, other.image, atol=IMAGE_ROUNDING)
    again = regenerate(pipe, batch.candidates[1].record, output_type="pt")
    assert torch.equal(again, alone.candidates[1].image)


@pytest.mark.parametrize(
    "name, blocks",
    [
        ("qwen_image", "QwenImageAutoBlocks"),
        pytest.param("flux", "FluxAutoBlocks", marks=pytest.mark.slow),
        pytest.param("flux2", "Flux2AutoBlocks", marks=pytest.mark.slow),
        pytest.param("sd3", "StableDiffusion3AutoBlocks", marks=pytest.mark.slow),
        pytest.param("z_image", "ZImageAutoBlocks", marks=pytest.mark.slow),
    ],
)
def test_modular_pipelines_pruned(name, blocks):
    pipe, arguments = modular(name, blocks)
    own = {"generator", "prompt", "output", "output_type", "true_cfg_scale"}
    arguments = {key: value for key, value in arguments().items() if key not in own}
    options = {"keep_images": "all", "output_type": "pt", **arguments}
    whole = best_of_n(pipe, "a red fox", 4, FakeScorer(), batch_size=4, **options)
    for size, method in ((None, "rows"), (1, "calls")):
        found = best_of_n(
            pipe, "a red fox", 4, FakeScorer(), prune=((0.5, 0.5),), batch_size=size, **options
        )
        kept = [one for one in found if one.pruned_at is None]
        assert len(kept) == found.savings["decodes"] == 2 and found.savings["method"] == method
        for one in kept:
            assert torch.allclose(one.image, whole.candidates[one.index].image, atol=IMAGE_ROUNDING)


@pytest.mark.slow
def test_a_compiled_denoiser(tiny_scorer):
    pipe, arguments = TINY_PIPELINES["sd15"]()
    options = {"keep_images": "all", "output_type": "pt", **arguments}
    plain = best_of_n(pipe, "a red fox", 2, tiny_scorer, **options)
    pipe.unet = torch.compile(pipe.unet, backend="eager")
    for size in (1, 2):
        found = best_of_n(pipe, "a red fox", 2, tiny_scorer, batch_size=size, **options)
        for one, other in zip(found, plain, strict=True):
            assert torch.allclose(one.image, other.image, atol=IMAGE_ROUNDING)
    assert regenerate(pipe, found.best.record).size == (64, 64)
