"""Pruned runs: survivors are the images of the unpruned run, and nothing stays patched."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from eliq.diffusion.call_arguments import make_generator, plan_calls  # noqa: E402
from eliq.diffusion.clean_estimate import SchedulerTap  # noqa: E402
from eliq.diffusion.prune_schedule import PruneSchedule  # noqa: E402
from eliq.diffusion.pruning import run_pruned  # noqa: E402
from eliq.errors import ConfigError, DiffusionError  # noqa: E402
from tests.tiny_pipelines import TINY_PIPELINES  # noqa: E402

PROMPT = "a red fox"
QUICK = ("sd15", "sd3", "flux", "z_image", "pixart_sigma")
FAMILIES = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in TINY_PIPELINES
]
METHODS = ("rows", "calls")
TWO_CUTS = PruneSchedule(((0.25, 0.5), (0.5, 0.67)))  # of 4 candidates 2, of 6 3 and 2 go on


class BrightnessScorer:
    """The brighter the better; `fail_at` raises at that look, `nan_rows` have no score."""

    def __init__(self, *, fail_at: int | None = None, nan_rows: tuple[int, ...] = ()) -> None:
        self.looks: list[int] = []
        self.fail_at, self.nan_rows = fail_at, nan_rows

    def score(self, images, prompts):
        if len(self.looks) == self.fail_at:
            raise RuntimeError("the scorer broke")
        self.looks.append(len(images))
        quality = images.float().mean(dim=(1, 2, 3)) * 10
        for row in self.nan_rows:
            quality[row] = math.nan
        return SimpleNamespace(
            visual_quality=quality, alignment=torch.full_like(quality, math.nan), flags=None
        )


@pytest.fixture(scope="module")
def tiny():
    """Each pipeline is built once; tests that change one take a copy of their own."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = TINY_PIPELINES[name]()
        return built[name]

    return get


def unpruned(pipe, call, seeds):
    generators = [make_generator(seed, "cpu") for seed in seeds]
    rows = range(len(seeds))
    return pipe(**call.for_rows(rows), output_type="pt", generator=generators).images


def with_scheduler(pipe, scheduler):
    """Another pipeline of the same models."""
    other = copy.copy(pipe)
    other.__dict__["scheduler"] = scheduler
    return other


def patched(pipe) -> list:
    """All that a run could leave behind on what the user owns."""
    modules = [pipe.vae, getattr(pipe, "unet", None) or pipe.transformer]
    return [
        vars(pipe.scheduler).get("step"),
        [
            sorted(set(vars(module)) & {"decode", "forward", "_compiled_call_impl"})
            for module in modules
        ],
        [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in modules],
        torch.is_grad_enabled(),
        sorted(name for name in vars(pipe) if "hooks" in name or "progress" in name),
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_survivors_equal_the_unpruned_run(tiny, name):
    pipe, arguments = tiny(name)
    seeds = [3, 1, 4, 15]
    call = plan_calls(pipe, PROMPT, len(seeds), arguments)[0]
    whole, before = unpruned(pipe, call, seeds), patched(pipe)
    for method in METHODS:
        batch, report = run_pruned(pipe, call, seeds, BrightnessScorer(), TWO_CUTS, method=method)
        assert report.method == method and patched(pipe) == before
        assert tuple(batch.rows) == report.survivors and len(batch.rows) == 2
        assert batch.images.shape == (2, *whole.shape[1:])
        assert (batch.images - whole[batch.rows]).abs().max() <= 1e-5, method
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
def test_samplers_that_draw_noise_draw_the_same(tiny, sampler, method):
    pipe, arguments = tiny("sd15")
    pipe = with_scheduler(pipe, SCHEDULERS[sampler](pipe.scheduler.config))
    arguments = {**arguments, "num_inference_steps": 4, "eta": 1.0}
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    whole = unpruned(pipe, call, range(4))
    batch, report = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert len(batch.rows) == 2 and report.rows_run < report.rows_full
    assert (batch.images - whole[batch.rows]).abs().max() <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_eight_candidates_with_the_default_schedule(tiny, method):
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


def test_the_same_run_twice(tiny):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    state = torch.get_rng_state()
    first = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS)
    second = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS)
    assert torch.equal(first[0].images, second[0].images) and first[1] == second[1]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("method", METHODS)
def test_a_preview_without_a_score_never_wins(tiny, method):
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
def test_latents_that_are_not_a_number_are_dropped(tiny, tiny_scorer, method):
    pipe, arguments = tiny("sd15")
    noise = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    noise[0] = math.nan
    call = plan_calls(pipe, PROMPT, 3, {**arguments, "latents": noise})[0]
    before = noise.clone()
    batch, report = run_pruned(
        pipe, call, range(3), tiny_scorer, PruneSchedule(((0.5, 0.6),)), method=method
    )
    assert report.survivors == (1, 2) and math.isnan(report.previews[0][0].score)
    assert torch.isfinite(batch.images).all()
    assert torch.equal(noise.nan_to_num(7), before.nan_to_num(7))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["scorer", "denoiser", "stopped"])
def test_nothing_stays_patched_after_an_exception(tiny, method, kind):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    before = patched(pipe)
    calls = []

    def fail(module, args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt if kind == "stopped" else ValueError("out of ink")

    handle = pipe.unet.register_forward_pre_hook(fail) if kind != "scorer" else None
    errors = {"scorer": RuntimeError, "denoiser": ValueError, "stopped": KeyboardInterrupt}
    scorer = BrightnessScorer(fail_at=0 if kind == "scorer" else None)
    try:
        with pytest.raises(errors[kind]):
            run_pruned(pipe, call, range(4), scorer, TWO_CUTS, method=method)
    finally:
        if handle is not None:
            handle.remove()
    assert patched(pipe) == before
    batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert len(batch.rows) == 2


@pytest.mark.parametrize("method", METHODS)
def test_inside_a_tap_of_the_user(tiny, method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    before, seen = patched(pipe), []
    with SchedulerTap(pipe, lambda estimate: seen.append(estimate.step_index)):
        inside = patched(pipe)
        batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
        assert patched(pipe) == inside
    assert patched(pipe) == before
    assert (batch.images - unpruned(pipe, call, range(4))[batch.rows]).abs().max() <= 1e-5
    assert seen == ([0, 1, 2, 3] if method == "rows" else [0, 0, 0, 0, 1, 2, 3, 1, 2, 3])


@pytest.mark.slow  # a bare module is compiled in test_diffusion_row_gather.py
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_compiled_denoisers(tiny, method, way):
    pipe, arguments = tiny("flux")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    whole = unpruned(pipe, call, range(4))
    pipe = copy.copy(pipe)
    pipe.__dict__["transformer"] = copy.deepcopy(pipe.transformer)
    if way == "wrapped":
        pipe.__dict__["transformer"] = torch.compile(pipe.transformer, backend="eager")
    else:
        pipe.transformer.compile(backend="eager")
    before = patched(pipe)
    try:
        batch, report = run_pruned(
            pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method
        )
    finally:
        torch.compiler.reset()
    assert patched(pipe) == before and report.rows_run * 16 == report.rows_full * 10
    assert (batch.images - whole[batch.rows]).abs().max() <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_step_caches_hold_no_rows_of_others(tiny, method):
    pipe, arguments = tiny("flux")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    schedule = PruneSchedule(((0.5, 0.5),))
    # A threshold of 0 never uses the cache, so the result must be that of the run without it.
    plain, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), schedule, method=method)
    for threshold in (0.0, 10.0):
        pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=threshold))
        try:
            batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), schedule, method=method)
        finally:
            pipe.transformer.disable_cache()
        assert torch.isfinite(batch.images).all() and len(batch.rows) == 2
        if threshold == 0.0:
            assert batch.rows == plain.rows
            assert (batch.images - plain.images).abs().max() <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_offloaded_models(tiny, method):
    pytest.importorskip("accelerate")
    pipe, arguments = TINY_PIPELINES["sd15"]()
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    whole = unpruned(pipe, call, range(4))
    pipe.enable_model_cpu_offload(device="cpu")
    batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert (batch.images - whole[batch.rows]).abs().max() <= 1e-5
    assert (unpruned(pipe, call, range(4)) - whole).abs().max() <= 1e-5
    pipe.remove_all_hooks()
    assert patched(pipe)[0] is None and "decode" not in vars(pipe.vae)


def test_a_batch_that_does_not_fit_goes_on_as_single_calls(tiny):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]

    def small(module, args):
        if len(args[0]) > 2:  # guidance doubles the one row
            raise torch.cuda.OutOfMemoryError("too small")

    handle = pipe.unet.register_forward_pre_hook(small)
    try:
        _, report = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS)
        assert report.method == "calls" and report.decodes == 2
        with pytest.raises(torch.cuda.OutOfMemoryError):
            run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method="rows")
    finally:
        handle.remove()
    _, report = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, batch_size=3)
    assert report.method == "calls"


def test_without_greenlet(tiny, monkeypatch):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 2, arguments)[0]
    for module in ("pruning", "paused_calls"):
        monkeypatch.setattr(f"eliq.diffusion.{module}.has_greenlet", lambda: False)
    half = PruneSchedule(((0.5, 0.5),))
    with pytest.raises(DiffusionError, match="greenlet"):
        run_pruned(pipe, call, range(2), BrightnessScorer(), half, method="calls")
    _, report = run_pruned(pipe, call, range(2), BrightnessScorer(), half, batch_size=1)
    assert report.method == "rows"


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_is_no_result(tiny, method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    before = patched(pipe)

    class Interrupting(BrightnessScorer):
        def score(self, images, prompts):
            pipe._interrupt = True
            return super().score(images, prompts)

    with pytest.raises(DiffusionError, match="interrupted"):
        run_pruned(pipe, call, range(4), Interrupting(), TWO_CUTS, method=method)
    assert patched(pipe) == before
    batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert len(batch.rows) == 2


@pytest.mark.parametrize("method", METHODS)
def test_one_candidate_is_a_plain_run(tiny, method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 1, arguments)[0]
    scorer = BrightnessScorer()
    batch, report = run_pruned(pipe, call, [7], scorer, PruneSchedule(), method=method)
    assert torch.equal(batch.images, unpruned(pipe, call, [7])) and scorer.looks == []
    assert report.rows_run == report.rows_full > 0 and report.decodes == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_drops_nothing_and_tells_what_it_would_have(tiny, method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    trial = PruneSchedule(TWO_CUTS.cuts, trial=True)
    batch, report = run_pruned(pipe, call, range(4), BrightnessScorer(), trial, method=method)
    _, real = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert (batch.images - unpruned(pipe, call, range(4))).abs().max() <= 1e-5
    assert report.survivors == real.survivors and report.pruned_at == real.pruned_at
    assert report.rows_run == report.rows_full and report.decodes == 4
    agreement = report.rank_agreement({i: float(i) for i in range(4)})
    assert agreement["best_survives"] is (3 in report.survivors)
    assert all(cut["final"]["num"] == 4 for cut in agreement["cuts"])


@pytest.mark.parametrize("method", METHODS)
def test_previews_from_a_tiny_decoder(tiny, method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    decoder = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(4, 4, 4, 4), decoder_block_out_channels=(4, 4, 4, 4)
    ).eval()
    batch, report = run_pruned(
        pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method, decoder=decoder
    )
    assert report.decodes == 2 and report.num_previews == 4
    assert (batch.images - unpruned(pipe, call, range(4))[batch.rows]).abs().max() <= 1e-5


def test_refusals(tiny):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 2, arguments)[0]
    with pytest.raises(ConfigError, match="method"):
        run_pruned(pipe, call, [0, 1], BrightnessScorer(), TWO_CUTS, method="threads")
    with pytest.raises(ConfigError, match="seed"):
        run_pruned(pipe, call, [0, -1], BrightnessScorer(), TWO_CUTS)
    bare = copy.copy(pipe)
    bare.__dict__["unet"] = None
    with pytest.raises(DiffusionError, match="unet or a transformer"):
        run_pruned(bare, call, [0, 1], BrightnessScorer(), TWO_CUTS)
