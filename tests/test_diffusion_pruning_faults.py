"""Pruned runs where something is in the way: right results or a clear error, nothing patched."""

from __future__ import annotations

import copy
import math

import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from eliq.diffusion.call_arguments import make_generator, plan_calls  # noqa: E402
from eliq.diffusion.clean_estimate import SchedulerTap  # noqa: E402
from eliq.diffusion.prune_schedule import PruneSchedule  # noqa: E402
from eliq.diffusion.pruning import run_pruned  # noqa: E402
from eliq.diffusion.row_gather import RowGather  # noqa: E402
from eliq.errors import ConfigError, DiffusionError  # noqa: E402
from tests.pruned_runs import (  # noqa: E402
    METHODS,
    PROMPT,
    TWO_CUTS,
    BrightnessScorer,
    patched,
    tiny,
    unpruned,
)
from tests.rounding import IMAGE_ROUNDING  # noqa: E402
from tests.tiny_pipelines import TINY_PIPELINES  # noqa: E402


@pytest.mark.parametrize("method", METHODS)
def test_latents_that_are_not_a_number_are_dropped(tiny_scorer, method):
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
def test_nothing_stays_patched_after_an_exception(method, kind):
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
def test_inside_a_tap_of_the_user(method):
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    before, seen = patched(pipe), []
    with SchedulerTap(pipe, lambda estimate: seen.append(estimate.step_index)):
        inside = patched(pipe)
        batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
        assert patched(pipe) == inside
    assert patched(pipe) == before
    assert (batch.images - unpruned(pipe, call, range(4))[batch.rows]).abs().max() <= IMAGE_ROUNDING
    assert seen == ([0, 1, 2, 3] if method == "rows" else [0, 0, 0, 0, 1, 2, 3, 1, 2, 3])


@pytest.mark.slow  # a bare module is compiled in test_diffusion_row_gather.py
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", ["wrapped", "in place"])
def test_compiled_denoisers(method, way):
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
    assert (batch.images - whole[batch.rows]).abs().max() <= IMAGE_ROUNDING


@pytest.mark.parametrize("method", METHODS)
def test_step_caches_hold_no_rows_of_others(method):
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
            assert (batch.images - plain.images).abs().max() <= IMAGE_ROUNDING


@pytest.mark.parametrize("method", METHODS)
def test_offloaded_models(method):
    pytest.importorskip("accelerate")
    pipe, arguments = TINY_PIPELINES["sd15"]()
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    whole = unpruned(pipe, call, range(4))
    pipe.enable_model_cpu_offload(device="cpu")
    batch, _ = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert (batch.images - whole[batch.rows]).abs().max() <= IMAGE_ROUNDING
    assert (unpruned(pipe, call, range(4)) - whole).abs().max() <= IMAGE_ROUNDING
    pipe.remove_all_hooks()
    assert patched(pipe)[0] is None and "decode" not in vars(pipe.vae)


def test_a_batch_that_does_not_fit_goes_on_as_single_calls():
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


def test_without_greenlet(monkeypatch):
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
def test_an_interrupted_run_is_no_result(method):
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


def test_a_pipeline_that_decodes_otherwise(monkeypatch):
    """Its decoder cannot be given the survivors alone: all are decoded, the survivors returned."""
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    monkeypatch.setattr(
        "eliq.diffusion.pruning.RowGather", lambda modules, n, vae: RowGather(modules, n)
    )
    batch, report = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS)
    assert report.decodes == 4 and tuple(batch.rows) == report.survivors
    assert (batch.images - unpruned(pipe, call, range(4))[batch.rows]).abs().max() <= IMAGE_ROUNDING


@pytest.mark.parametrize("method", METHODS)
def test_a_modular_pipeline(method):
    modular = pytest.importorskip("diffusers.modular_pipelines")
    plain, arguments = TINY_PIPELINES["sdxl"]()
    blocks = modular.StableDiffusionXLAutoBlocks()
    if not hasattr(blocks, "get_workflow"):
        pytest.skip("diffusers before 0.37")
    pipe = blocks.get_workflow("text2image").init_pipeline()
    known = set(pipe.components)
    pipe.update_components(**{n: c for n, c in plain.components.items() if n in known})
    pipe.set_progress_bar_config(disable=True)
    call = plan_calls(pipe, PROMPT, 4, arguments)[0]
    generators = [make_generator(seed, "cpu") for seed in range(4)]
    whole = pipe(**call.for_rows(range(4)), generator=generators, output_type="pt", output="images")
    before = patched(pipe)
    batch, report = run_pruned(pipe, call, range(4), BrightnessScorer(), TWO_CUTS, method=method)
    assert report.rows_run * 16 == report.rows_full * 10 and report.decodes == 2
    assert (batch.images - whole[batch.rows]).abs().max() <= IMAGE_ROUNDING
    assert patched(pipe) == before


def test_refusals():
    pipe, arguments = tiny("sd15")
    call = plan_calls(pipe, PROMPT, 2, arguments)[0]
    with pytest.raises(ConfigError, match="method"):
        run_pruned(pipe, call, [0, 1], BrightnessScorer(), TWO_CUTS, method="threads")
    with pytest.raises(ConfigError, match="seed"):
        run_pruned(pipe, call, [0, -1], BrightnessScorer(), TWO_CUTS)
    fixed = copy.copy(pipe)
    fixed.__dict__["scheduler"] = None
    with pytest.raises(DiffusionError, match="scheduler"):
        run_pruned(fixed, call, [0, 1], BrightnessScorer(), TWO_CUTS, method="calls")
    bare = copy.copy(pipe)
    bare.__dict__["unet"] = None
    with pytest.raises(DiffusionError, match="unet or a transformer"):
        run_pruned(bare, call, [0, 1], BrightnessScorer(), TWO_CUTS)
