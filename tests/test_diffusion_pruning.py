"""Pruned runs: survivors are the images of the unpruned run, at less work."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from eliq.diffusion.call_arguments import plan_calls  # noqa: E402
from eliq.diffusion.prune_schedule import PruneSchedule  # noqa: E402
from eliq.diffusion.pruning import run_pruned  # noqa: E402
from tests.pruned_runs import (  # noqa: E402
    METHODS,
    PROMPT,
    TWO_CUTS,
    BrightnessScorer,
    patched,
    tiny,
    unpruned,
    with_scheduler,
)
from tests.rounding import IMAGE_ROUNDING  # noqa: E402
from tests.tiny_pipelines import TINY_PIPELINES  # noqa: E402

QUICK = ("sd15", "sd3", "flux", "z_image", "pixart_sigma")
FAMILIES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TINY_PIPELINES
]


@pytest.mark.parametrize("name", FAMILIES)
def test_survivors_equal_the_unpruned_run(name):
    pipe, arguments = tiny(name)
    seeds = [3, 1, 4, 15]
    call = plan_calls(pipe, PROMPT, len(seeds), arguments)[0]
    whole, before = unpruned(pipe, call, seeds), patched(pipe)
    for method in METHODS:
        batch, report = run_pruned(pipe, call, seeds, BrightnessScorer(), TWO_CUTS, method=method)
        assert report.method == method and patched(pipe) == before
        assert tuple(batch.rows) == report.survivors and len(batch.rows) == 2
        assert batch.images.shape == (2, *whole.shape[1:])
        assert (batch.images - whole[batch.rows]).abs().max() <= IMAGE_ROUNDING, method
        # 4 steps: all four run the first, two the other three. Only two are decoded.
        assert report.rows_run * 16 == report.rows_full * 10
        assert report.decodes == 2 and report.num_previews == 4
        if method == "calls":  # the very bits of a call alone
            assert torch.equal(batch.images[:1], unpruned(pipe, call, [seeds[batch.rows[0]]]))
    assert torch.equal(unpruned(pipe, call, seeds), whole)


SCHEDULERS = {
    "DDIM": lambda config: diffusers.DDIMScheduler.from_config(config),
    "Euler": lambda config: diffusers.EulerDiscreteScheduler.from_config(config),
    "Euler-a": lambda config: diffusers.EulerAncestralDiscreteScheduler.from_config(config),
    "DPM++ 2M": lambda config: diffusers.DPMSolverMultistepScheduler.from_config(config),
    "DPM++ 2M SDE": lambda config: diffusers.DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="sde-dpmsolver++"
    ),
    "UniPC": lambda config: diffusers.UniPCMultistepScheduler.from_config(config),
    "LCM": lambda config: diffusers.LCMScheduler.from_config(config),
    "Heun": lambda config: diffusers.HeunDiscreteScheduler.from_config(config),
    "DDPM": lambda config: diffusers.DDPMScheduler.from_config(config),
}


@pytest.mark.parametrize("sampler", SCHEDULERS)
@pytest.mark.parametrize("method", METHODS)
def test_samplers_that_draw_noise_draw_the_same(sampler, method):
    pipe, arguments = tiny("sd15")
    pipe = with_scheduler(pipe, SCHEDULERS[sampler](pipe.scheduler.config))
    arguments = {**arguments, "num_inference_steps": 4, "eta": 1.0}
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    whole = unpruned(pipe, call, range(4))
    batch, report = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert len(batch.rows) == 2 and report.rows_run < report.rows_full
    assert (batch.images - whole[batch.rows]).abs().max() <= IMAGE_ROUNDING


@pytest.mark.parametrize("method", METHODS)
def test_eight_candidates_with_the_default_schedule(method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 8, {**arguments, "num_inference_steps": 10})[0]
    scorer = BrightnessScorer()
    batch, report = run_pruned(pipe, call, range(8), scorer, PruneSchedule(), method=method)
    facts = report.to_json()
    assert facts["row_share"] <= 0.45 and facts["row_share"] == report.schedule.row_share(10, 8)
    assert (facts["decodes"], facts["decodes_unpruned"]) == (1, 8)
    assert facts["denoiser_rows_unpruned"] == 10 * 8 * 2  # with guidance
    assert scorer.looks == [8, 4, 2] and batch.images.shape[0] == 1
    assert sorted(set(report.pruned_at) - {None}) == [0.2, 0.4, 0.7]


def test_the_same_run_twice():
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    state = torch.get_rng_state()
    first = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS)
    second = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS)
    assert torch.equal(first[0].images, second[0].images) and first[1] == second[1]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", METHODS)
def test_a_preview_without_a_score_never_wins(method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    half = PruneSchedule(((0.5, 0.5),))
    for bad in ((0, 1), (1, 3)):
        scorer = BrightnessScorer(nan_rows=bad)
        _, report = run_pruned(pipe, call, range(4), scorer, half, method=method)
        assert set(report.survivors) == set(range(4)) - set(bad)
    _, report = run_pruned(
        pipe, call, range(4), BrightnessScorer(nan_rows=(0, 1, 2, 3)), half, method=method
    )
    assert report.survivors == (0, 1)  # no score at all: the first ones


@pytest.mark.parametrize("method", METHODS)
def test_one_candidate_is_a_plain_run(method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 1, arguments)[0]
    scorer = BrightnessScorer()
    batch, report = run_pruned(pipe, call, [7], scorer, PruneSchedule(), method=method)
    assert torch.equal(batch.images, unpruned(pipe, call, [7])) and scorer.looks == []
    assert report.rows_run == report.rows_full > 0 and report.decodes == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_drops_nothing_and_tells_what_it_would_have(method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    trial = PruneSchedule(TWO_CUTS.cuts, trial=True)
    batch, report = run_pruned(pipe, call, range(4), BrightnessScorer(), trial, method=method)
    _, real = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert (batch.images - unpruned(pipe, call, range(4))).abs().max() <= IMAGE_ROUNDING
    assert report.survivors == real.survivors and report.pruned_at == real.pruned_at
    assert report.rows_run == report.rows_full and report.decodes == 4
    agreement = report.rank_agreement({i: float(i) for i in range(4)})
    assert agreement["best_survives"] is (3 in report.survivors)
    assert all(cut["final"]["num"] == 4 for cut in agreement["cuts"])


@pytest.mark.parametrize("method", METHODS)
def test_previews_from_a_tiny_decoder(method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    decoder = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4, 4, 4, 4), decoder_block_out_channels=(4, 4, 4, 4)
    ).eval()
    batch, report = run_pruned(
        pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method, decoder=decoder
    )
    assert report.decodes == 2 and report.num_previews == 4
    assert (batch.images - unpruned(pipe, call, range(4))[batch.rows]).abs().max() <= IMAGE_ROUNDING
