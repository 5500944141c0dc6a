"""ScoreCallback on tiny pipelines: scores on the way, aborts, and nothing else changed."""

from __future__ import annotations

import json
import math

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from eliq.diffusion.callback import RunAborted, ScoreCallback  # noqa: E402
from eliq.diffusion.step_scores import Thresholds  # noqa: E402
from eliq.errors import ConfigError, DiffusionError  # noqa: E402
from tests.scored_runs import (  # noqa: E402
    PROMPT,
    QUARTERS,
    MeanScorer,
    built,
    counted,
    denoiser_of,
    is_untouched,
)

NO_INTERRUPT = {"lumina2", "aura_flow"}


class ThrowingDecoder(torch.nn.Module):
    """Stands where the autoencoder is, and must not be needed."""

    def decode(self, *args, **kwargs):
        raise AssertionError("decoded")


def tiny_decoder(channels=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
            num_encoder_blocks=(1, 1, 1, 1), num_decoder_blocks=(1, 1, 1, 1),
            latent_channels=channels,
        ).eval()  # fmt: skip


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3", "pixart_sigma", "lumina2", "aura_flow"])
def test_an_abort_saves_the_steps_and_the_decode(name):
    pipe, arguments = built(name)
    with counted(denoiser_of(pipe)) as whole:
        want = pipe(**arguments()).images
    callback = ScoreCallback(
        MeanScorer(), PROMPT, at=0.5, min_visual_quality=1.0, abort=True, decoder=tiny_decoder()
    )
    decode = pipe.vae.decode
    pipe.vae.decode = ThrowingDecoder().decode
    with counted(denoiser_of(pipe)) as denoiser:
        assert callback.run(pipe, **arguments()) is None
    pipe.vae.decode = decode
    assert denoiser.calls == whole.calls // 2
    assert callback.aborted and callback.rejected_at == 0.5 and len(callback.history) == 1
    assert is_untouched(pipe)
    assert torch.equal(pipe(**arguments()).images, want)  # no trace is left in the scheduler


def test_an_abort_leaves_the_with_block():
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, min_visual_quality=1.0, abort=True)
    reached = []
    with callback.attach(pipe):
        pipe(**arguments())
        reached.append("behind the call")
    assert not reached and callback.aborted and is_untouched(pipe)
    with callback.attach(pipe):
        pass
    assert not callback.aborted and callback.rejected_at is None


def test_a_run_that_passes_is_not_aborted():
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, min_visual_quality=0.01, abort=True)
    assert callback.run(pipe, **arguments()) is not None
    assert not callback.aborted and callback.rejected_at is None


def test_without_abort_a_hopeless_run_is_only_told():
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, min_alignment=0.9)
    assert callback.run(pipe, **arguments()) is not None
    assert not callback.aborted and callback.rejected_at == 0.25 and len(callback.history) == 3


def test_a_batch_goes_on_while_one_image_may_pass():
    pipe, arguments = built("sd15")
    scores = iter([(0.9, 0.1), (0.4, 0.2), (0.9, 0.9)])

    class Scripted(MeanScorer):
        def score(self, images, prompts):
            scored = super().score(images, prompts)
            scored.visual_quality = torch.tensor(next(scores))
            return scored

    callback = ScoreCallback(Scripted(), PROMPT, min_visual_quality=0.5, abort=True)
    assert callback.run(pipe, **arguments(num_images_per_prompt=2)) is None
    assert callback.rejected_at == 0.5
    assert [len(step.images) for step in callback.history] == [2, 2]


@pytest.mark.parametrize("name", ["sd15", "flux", "lumina2"])
def test_the_step_callback_aborts_by_interrupt(name, caplog):
    """The steps that are left are skipped; a pipeline that heeds no interrupt is named."""
    pipe, arguments = built(name)
    callback = ScoreCallback(MeanScorer(), PROMPT, at=0.5, min_visual_quality=1.0, abort=True)
    with counted(denoiser_of(pipe)) as denoiser:
        images = pipe(**arguments(), callback_on_step_end=callback).images
    assert images.shape[0] == 1 and is_untouched(pipe) and callback.rejected_at == 0.5
    if name in NO_INTERRUPT:
        assert denoiser.calls > 2 and not callback.aborted
        assert "heeds no interrupt" in caplog.text
    else:
        assert denoiser.calls == 2 and callback.aborted
    want = pipe(**arguments()).images  # the next run is a whole one
    assert torch.isfinite(want).all()


@pytest.mark.parametrize("fail_at", [1, 2, 3, 4])
@pytest.mark.parametrize("way", ["run", "callback", "wrapped"])
@pytest.mark.parametrize("name", ["sd15", "flux"])
def test_restored_when_the_denoiser_fails(name, way, fail_at):
    pipe, arguments = built(name)
    callback = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)

    def mine(pipe, step, timestep, kwargs):
        callback(pipe, step, timestep, kwargs)
        return {}

    with counted(denoiser_of(pipe), fail_at=fail_at):
        try:
            if way == "run":
                callback.run(pipe, **arguments())
            else:
                given = callback if way == "callback" else mine
                pipe(**arguments(), callback_on_step_end=given)
        except RuntimeError as error:
            assert "the denoiser broke" in str(error)
        else:
            raise AssertionError("it did not fail")
    assert is_untouched(pipe)
    history = len(callback.history)
    pipe(**arguments())
    assert len(callback.history) == history
    assert history == max(0, fail_at - (1 if way == "run" else 2))


def test_a_kept_exception_keeps_no_tap_alive_for_long():
    """While somebody holds the traceback, and by it the latents, the next step lets go."""
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)
    with counted(pipe.unet, fail_at=3), pytest.raises(RuntimeError) as kept:
        pipe(**arguments(), callback_on_step_end=callback)
    want = len(callback.history)
    pipe(**arguments())
    assert len(callback.history) == want and is_untouched(pipe) and kept


@pytest.mark.parametrize("way", ["run", "callback"])
def test_restored_when_the_scorer_fails(way):
    class Broken:
        def score(self, images, prompts):
            raise KeyError("scorer")

    pipe, arguments = built("sd15")
    callback = ScoreCallback(Broken(), PROMPT)
    with pytest.raises(KeyError, match="scorer"):
        if way == "run":
            callback.run(pipe, **arguments())
        else:
            pipe(**arguments(), callback_on_step_end=callback)
    assert is_untouched(pipe)


def test_callbacks_nest_and_each_catches_its_own_abort():
    pipe, arguments = built("sd15")
    strict = {"min_visual_quality": 1.0, "abort": True}
    for outer_at, inner_at, outer_ends in [(0.25, 0.5, True), (0.5, 0.25, False)]:
        outer = ScoreCallback(MeanScorer(), PROMPT, at=outer_at, **strict)
        inner = ScoreCallback(MeanScorer(), PROMPT, at=inner_at, **strict)
        reached = []
        with outer.attach(pipe):
            with inner.attach(pipe):
                pipe(**arguments())
            reached.append("outer")
        assert (outer.aborted, inner.aborted) == (outer_ends, not outer_ends)
        assert reached == ([] if outer_ends else ["outer"]) and is_untouched(pipe)


def test_attached_and_given_as_step_callback_scores_once():
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT)
    callback.run(pipe, **arguments(callback_on_step_end=callback))
    assert len(callback.history) == 3
    with callback.attach(pipe), pytest.raises(DiffusionError, match="attached already"):
        callback.run(pipe, **arguments())


def test_runs_are_counted():
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, at=(0.5, 1.0))
    with callback.attach(pipe):
        pipe(**arguments(seed=0))
        pipe(**arguments(seed=1))
    callback.run(pipe, **arguments(seed=0))
    pipe(**arguments(seed=1), callback_on_step_end=callback)
    assert [step.run for step in callback.history] == [0, 0, 1, 1, 2, 2, 3, 3]
    quality = [step.visual_quality for step in callback.history]
    assert quality[:4] == quality[4:] and quality[0] != quality[2]


def test_a_run_of_more_steps_is_a_run_of_its_own():
    """Its first scored step may have a higher number than the last of the run before."""
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, at=0.5, min_visual_quality=1.0)
    with callback.attach(pipe):
        pipe(**arguments(num_inference_steps=2))
        callback.thresholds = Thresholds()
        pipe(**arguments(num_inference_steps=4))
    assert [(step.run, step.step_index) for step in callback.history] == [(0, 0), (1, 1)]
    assert callback.rejected_at is None


def test_beside_a_callback_that_replaces_the_latents():
    """From the second fraction on every one is scored, and the scheduler is left as it was."""
    pipe, arguments = built("sd15")
    callback = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)

    def mine(pipe, step, timestep, kwargs):
        callback(pipe, step, timestep, {"latents": kwargs["latents"].clone()})
        return {}

    want = pipe(**arguments()).images
    assert torch.equal(pipe(**arguments(), callback_on_step_end=mine).images, want)
    assert [step.fraction for step in callback.history] == [0.75, 1.0]
    assert is_untouched(pipe)
    pipe(**arguments(), callback_on_step_end=mine)  # now it knows
    assert [step.fraction for step in callback.history[2:]] == [0.5, 0.75, 1.0]
    with counted(pipe.unet, fail_at=3), pytest.raises(RuntimeError):
        pipe(**arguments(), callback_on_step_end=mine)
    want = len(callback.history)
    pipe(**arguments())
    assert len(callback.history) == want and is_untouched(pipe)


def test_interrupted_by_somebody_else():
    pipe, arguments = built("sd15")

    def stop(pipe, step, timestep, kwargs):
        pipe._interrupt = step == 1
        return kwargs

    callback = ScoreCallback(MeanScorer(), PROMPT, at=QUARTERS)
    assert callback.run(pipe, **arguments(callback_on_step_end=stop)) is not None
    assert [step.fraction for step in callback.history] == [0.25, 0.5]
    assert not callback.aborted and is_untouched(pipe)


@pytest.mark.parametrize("name", ["sd15", "flux"])
def test_nan_latents_are_flagged_and_hopeless(name, tiny_scorer):
    pipe, arguments = built(name)
    nan = ScoreCallback(tiny_scorer, PROMPT, min_visual_quality=0.0)

    def broken(result):
        return tuple(part * float("nan") for part in result)

    with counted(denoiser_of(pipe), output=broken):
        nan.run(pipe, **arguments())
    assert nan.rejected_at == 0.25 and len(nan.history) == 3
    image = nan.history[0].images[0]
    assert math.isnan(image.visual_quality) and "nonfinite_input" in image.flags
    assert image.error
    row = json.loads(json.dumps(nan.history[0].to_json()))["images"][0]
    assert row["visual_quality"] is None and row["error"] == image.error


def test_the_tiny_critic_scores_previews(tiny_scorer):
    pipe, arguments = built("sd15")
    callback = ScoreCallback(tiny_scorer, PROMPT)
    callback.run(pipe, **arguments())
    assert len({step.visual_quality[0] for step in callback.history}) == 3
    assert all(0 <= step.alignment[0] <= 1 for step in callback.history)
    silent = ScoreCallback(tiny_scorer, min_visual_quality=0.0, abort=True)  # without a prompt
    assert silent.run(pipe, **arguments()) is not None
    assert math.isnan(silent.history[0].alignment[0])


def test_prompts_go_to_their_images():
    pipe, arguments = built("sd15")
    scorer = MeanScorer()
    prompts = ["a red fox", "a much longer text about a blue bird"]
    callback = ScoreCallback(scorer, prompts, at=0.5)
    callback.run(pipe, **arguments(prompt=prompts, num_images_per_prompt=2))
    assert scorer.prompts == [[prompts[0]] * 2, [prompts[1]] * 2]
    assert len(callback.history[0].images) == 4
    with pytest.raises(DiffusionError, match="one for each of the 1 images"):
        callback.run(pipe, **arguments())
    assert is_untouched(pipe)


@pytest.mark.parametrize(
    "settings",
    [
        {"at": ()},
        {"at": (0.5, 2)},
        {"min_visual_quality": 1.5},
        {"min_alignment": "high", "prompt": PROMPT},
        {"min_alignment": 0.5},
        {"min_alignment": 0.5, "prompt": ["", None]},
        {"abort": True},
        {"prompt": []},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError):
        ScoreCallback(MeanScorer(), **settings)


def test_what_is_no_pipeline_or_scorer_is_refused():
    pipe, arguments = built("sd15")
    with pytest.raises(DiffusionError, match="expected a pipeline"):
        ScoreCallback(MeanScorer(), PROMPT).run(print)
    with pytest.raises(DiffusionError, match="scorer: expected"):
        ScoreCallback(object(), PROMPT).run(pipe, **arguments())
    assert is_untouched(pipe)
    assert issubclass(RunAborted, BaseException) and not issubclass(RunAborted, Exception)
