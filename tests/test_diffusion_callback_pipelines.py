"""ScoreCallback on every family, with compiled and offloaded models, packed latents and blocks."""

from __future__ import annotations

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from eliq.diffusion.callback import RunAborted, ScoreCallback  # noqa: E402
from eliq.diffusion.clean_estimate import SchedulerTap  # noqa: E402
from eliq.errors import DiffusionError  # noqa: E402
from tests.rounding import IMAGE_ROUNDING, SCORE_ROUNDING  # noqa: E402
from tests.scored_runs import (  # noqa: E402
    PROMPT,
    QUARTERS,
    MeanScorer,
    built,
    counted,
    denoiser_of,
    is_untouched,
    modular,
)
from tests.tiny_pipelines import TINY_PIPELINES  # noqa: E402

NO_CALLBACK = {"pixart_sigma"}
QUICK = {"sdxl", "flux2", "qwen_image", "z_image"}


def families(without):
    """All of them are scored in every run of the tests; what follows from it, four."""
    return [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in TINY_PIPELINES
        if name not in without
    ]


@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_every_family_is_scored_and_its_images_stay(name):
    """Bit-equal images; the preview of the last step is the image itself."""
    pipe, arguments = built(name)
    want = pipe(**arguments()).images
    scorer = MeanScorer()
    callback = ScoreCallback(scorer, PROMPT, at=QUARTERS)
    components = set(pipe.components)
    found = callback.run(pipe, **arguments()).images
    assert torch.equal(found, want)
    assert [step.fraction for step in callback.history] == list(QUARTERS)
    assert is_untouched(pipe) and set(pipe.components) == components
    assert want.std() > 0.01
    if name != "sd15":  # whose DDIM keeps a little noise in its last step
        assert (scorer.images[-1] - want).abs().max() < IMAGE_ROUNDING
    previews = torch.stack([images.flatten() for images in scorer.images])
    assert (previews[0] - previews[-1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", families({"sd15"}))
def test_the_last_estimate_is_the_final_latents(name):
    pipe, arguments = built(name)
    estimates = []
    with SchedulerTap(pipe, estimates.append, at=1.0):
        final = pipe(**arguments(output_type="latent")).images
    x0 = estimates[0].latents
    if name == "flux2":  # it undoes its own packing and normalisation
        assert x0.numel() == final.numel()
        return
    error = (x0.reshape(final.shape) - final).abs().max() / final.abs().max()
    assert error <= SCORE_ROUNDING


@pytest.mark.parametrize("name", families(NO_CALLBACK))
def test_the_step_callback_scores_the_same(name):
    """The first step excepted: its fraction is scored one step later."""
    pipe, arguments = built(name)
    want = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)
    images = want.run(pipe, **arguments()).images
    callback = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)
    found = pipe(**arguments(), callback_on_step_end=callback).images
    assert torch.equal(found, images) and is_untouched(pipe)
    assert [s.to_json() for s in callback.history] == [s.to_json() for s in want.history[1:]]
    early = ScoreCallback(MeanScorer(), PROMPT, at=0.25)
    pipe(**arguments(), callback_on_step_end=early)
    assert [step.step_index for step in early.history] == [1]


SCHEDULERS = {
    "sd15": ("DDIM", "EulerDiscrete", "EulerAncestralDiscrete", "DPMSolverMultistep",
             "UniPCMultistep", "LCM", "HeunDiscrete", "PNDM"),
    "sd3": ("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete"),
}  # fmt: skip


@pytest.mark.parametrize("name, scheduler", [(n, s) for n, row in SCHEDULERS.items() for s in row])
def test_schedulers_of_a_pipeline(name, scheduler):
    pipe, arguments = built(name)
    config = pipe.scheduler.config
    pipe.scheduler = getattr(diffusers, scheduler + "Scheduler").from_config(config)
    want = pipe(**arguments(num_inference_steps=5)).images
    callback = ScoreCallback(MeanScorer(), PROMPT)
    assert torch.equal(callback.run(pipe, **arguments(num_inference_steps=5)).images, want)
    stepwise = ScoreCallback(MeanScorer(), PROMPT)
    kwargs = {"callback_on_step_end": stepwise, "num_inference_steps": 5}
    assert torch.equal(pipe(**arguments(**kwargs)).images, want)
    assert [s.to_json() for s in stepwise.history] == [s.to_json() for s in callback.history]
    assert len(callback.history) == 3 and is_untouched(pipe)


def test_with_other_callbacks_in_one():
    from diffusers.callbacks import MultiPipelineCallbacks, SDCFGCutoffCallback

    pipe, arguments = built("sd15")
    cutoff = SDCFGCutoffCallback(cutoff_step_ratio=0.5)
    want = pipe(**arguments(callback_on_step_end=cutoff)).images
    callback = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)
    both = MultiPipelineCallbacks([callback, SDCFGCutoffCallback(cutoff_step_ratio=0.5)])
    assert torch.equal(pipe(**arguments(callback_on_step_end=both)).images, want)
    assert len(callback.history) == 3


@pytest.mark.parametrize(
    "name, where",
    [
        ("sd3", "module"),
        pytest.param("sd15", "module", marks=pytest.mark.slow),
        pytest.param("sd15", "function", marks=pytest.mark.slow),
        pytest.param("flux", "function", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_denoiser(name, where):
    pipe, arguments = built(name)
    want = pipe(**arguments()).images
    if where == "module":
        denoiser_of(pipe).compile(backend="eager")
    elif name == "sd15":
        pipe.unet = torch.compile(pipe.unet, backend="eager")
    else:
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    compiled = pipe(**arguments()).images
    for way in ("run", "step"):
        callback = ScoreCallback(MeanScorer(), PROMPT, at=(0.5, 0.75))
        if way == "run":
            found = callback.run(pipe, **arguments()).images
        else:
            found = pipe(**arguments(callback_on_step_end=callback)).images
        assert torch.equal(found, compiled) and len(callback.history) == 2
    assert torch.allclose(compiled, want, atol=IMAGE_ROUNDING) and is_untouched(pipe)
    torch._dynamo.reset()


def test_model_offload_simulated():
    """accelerate's hooks as `enable_model_cpu_offload` places them, with the CPU as the device:
    no accelerator is needed to see that they survive.
    """
    accelerate = pytest.importorskip("accelerate")
    pipe, arguments = built("sd15")
    want = pipe(**arguments()).images
    hook = None
    pipe._all_hooks = []
    for module in (pipe.text_encoder, pipe.unet, pipe.vae):
        _, hook = accelerate.cpu_offload_with_hook(module, "cpu", prev_module_hook=hook)
        pipe._all_hooks.append(hook)
    freed = []
    pipe.maybe_free_model_hooks = lambda: freed.append(1)
    callback = ScoreCallback(MeanScorer(), PROMPT)
    assert torch.equal(callback.run(pipe, **arguments()).images, want)
    assert len(callback.history) == 3 and len(freed) == 1
    strict = ScoreCallback(MeanScorer(), PROMPT, min_visual_quality=1.0, abort=True)
    assert strict.run(pipe, **arguments()) is None
    assert len(freed) == 2  # once by the callback, in the pipeline's place
    assert torch.equal(pipe(**arguments()).images, want)
    assert hasattr(pipe.unet, "_hf_hook")


@pytest.mark.parametrize("name", ["flux", "qwen_image", "chroma", "flux2"])
def test_packed_latents_of_another_shape(name):
    pipe, arguments = built(name)
    scorer = MeanScorer()
    size = {"height": 48, "width": 96}
    ScoreCallback(scorer, PROMPT, at=0.5).run(pipe, **arguments(**size))
    told = ScoreCallback(scorer, PROMPT, at=0.5, **size)
    pipe(**arguments(**size), callback_on_step_end=told)
    assert [tuple(images.shape[-2:]) for images in scorer.images] == [(48, 96)] * 2
    assert torch.equal(*scorer.images)
    untold = ScoreCallback(scorer, PROMPT, at=0.5)
    with pytest.raises(DiffusionError, match="height and width"):
        pipe(**arguments(**size), callback_on_step_end=untold)
    assert is_untouched(pipe)


def modular_sdxl(block=None, *, before="after_denoiser"):
    """The modular SDXL, with a block in its denoising loop before the one that is named."""
    modular = pytest.importorskip("diffusers.modular_pipelines")
    pipe, arguments = built("sdxl")
    blocks = modular.StableDiffusionXLAutoBlocks().get_workflow("text2image")
    if block is not None:
        loop = blocks.sub_blocks["denoise.denoise"]
        loop.sub_blocks.insert("score", block, list([*loop.sub_blocks, "end"]).index(before))
    made = blocks.init_pipeline()
    made.update_components(**{k: v for k, v in pipe.components.items() if hasattr(made, k)})
    made.set_progress_bar_config(disable=True)
    return made, lambda **kwargs: {**arguments(**kwargs), "output": "images"}


def test_a_modular_pipeline_attached_or_with_a_block():
    pipe, arguments = modular_sdxl()
    want = pipe(**arguments())
    attached, scorer = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS), MeanScorer()
    assert torch.equal(attached.run(pipe, **arguments()), want)
    inside = ScoreCallback(scorer, PROMPT, at=QUARTERS)
    pipe, arguments = modular_sdxl(inside.block())
    assert torch.equal(pipe(**arguments()), want)
    assert len(attached.history) == 4 and is_untouched(pipe)
    assert [s.to_json() for s in inside.history] == [s.to_json() for s in attached.history]
    assert (scorer.images[-1] - want).abs().max() < IMAGE_ROUNDING
    inside.run(pipe, **arguments())  # attached as well: scored once
    assert [step.run for step in inside.history] == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    "name, blocks",
    [
        ("flux", "FluxAutoBlocks"),
        ("qwen_image", "QwenImageAutoBlocks"),
        ("flux2", "Flux2AutoBlocks"),
        pytest.param("sd3", "StableDiffusion3AutoBlocks", marks=pytest.mark.slow),
        pytest.param("z_image", "ZImageAutoBlocks", marks=pytest.mark.slow),
    ],
)
def test_modular_pipelines_that_pack_their_latents_in_blocks(name, blocks):
    """The preview of the last step is the image, in a size that is not square too."""
    pipe, arguments = modular(name, blocks)
    size = {"height": 48, "width": 96}
    want, scorer = pipe(**arguments(**size)), MeanScorer()
    callback = ScoreCallback(scorer, PROMPT, at=QUARTERS)
    assert torch.equal(callback.run(pipe, **arguments(**size)), want)
    assert len(callback.history) == 4 and is_untouched(pipe)
    assert want.shape[-2:] == (48, 96) and (scorer.images[-1] - want).abs().max() < IMAGE_ROUNDING


def test_a_modular_run_is_aborted(caplog):
    """By `run`, which catches it, or by a block, whose user does; the loop logs no failure."""
    strict = {"at": 0.5, "min_visual_quality": 1.0, "abort": True}
    pipe, arguments = modular_sdxl()
    callback = ScoreCallback(MeanScorer(), PROMPT, **strict)
    with counted(pipe.unet) as denoiser:
        assert callback.run(pipe, **arguments()) is None
    aborted = denoiser.calls
    callback = ScoreCallback(MeanScorer(), PROMPT, **strict)
    pipe, arguments = modular_sdxl(callback.block())
    with counted(pipe.unet) as denoiser, pytest.raises(RunAborted):
        pipe(**arguments())
    assert callback.aborted and denoiser.calls == aborted
    assert "Error in block" not in caplog.text
    with counted(pipe.unet) as denoiser:
        callback.abort = False
        pipe(**arguments())
    assert denoiser.calls == 2 * aborted


def test_a_block_behind_the_scheduler_is_refused():
    """There noise_pred and latents belong to different steps."""
    callback = ScoreCallback(MeanScorer(), PROMPT)
    pipe, arguments = modular_sdxl(callback.block(), before="end")
    with pytest.raises(DiffusionError, match="between `denoiser` and"):
        pipe(**arguments())
