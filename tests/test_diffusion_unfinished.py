"""Runs that end early: their estimate decoded, nothing of the pipeline changed."""

from __future__ import annotations

import pytest
import torch

from eliq.diffusion import generate_image, regenerate, unfinished_images
from eliq.errors import ConfigError, DiffusionError
from tests.rounding import IMAGE_ROUNDING
from tests.tiny_pipelines import TINY_PIPELINES

SOME = ("sdxl", "sd3", "flux", "qwen_image")  # the schedule of sd15 ends before no noise is left


@pytest.mark.parametrize("name", SOME)
def test_the_estimate_of_the_last_step_is_the_image(name):
    pipe, arguments = TINY_PIPELINES[name]()
    whole = generate_image(pipe, "a red fox", seed=3, **arguments)
    found = unfinished_images(
        pipe, lambda: generate_image(pipe, "a red fox", seed=3, **arguments), at=(0.25, 0.5, 1.0)
    )
    assert [step.fraction for step, _ in found] == [0.25, 0.5, 1.0]
    assert all(image.shape == (1, 3, 64, 64) for _, image in found)
    assert torch.allclose(found[-1][1][0], whole.image.float(), atol=IMAGE_ROUNDING)
    assert (found[0][1][0] - whole.image).abs().mean() > 1e-3


def test_the_rest_of_the_run_is_not_run_and_nothing_stays_behind():
    pipe, arguments = TINY_PIPELINES["flux"]()
    calls = []
    pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    run = lambda: generate_image(pipe, "a red fox", seed=3, **arguments)  # noqa: E731
    whole = run().image
    assert len(calls) == 4
    unfinished_images(pipe, run, at=(0.5,))
    assert len(calls) == 6
    assert "step" not in vars(pipe.scheduler) and "prepare_latents" not in vars(pipe)
    assert torch.equal(run().image, whole)


def test_a_recorded_run_is_repeated():
    pipe, arguments = TINY_PIPELINES["sd15"]()
    made = generate_image(pipe, "a red fox", seed=5, **arguments)
    again = unfinished_images(pipe, lambda: regenerate(pipe, made.record), at=(0.5,))
    same = unfinished_images(
        pipe, lambda: generate_image(pipe, "a red fox", seed=5, **arguments), at=(0.5,)
    )
    assert torch.equal(again[0][1], same[0][1])


def test_a_picture_that_is_not_square():
    pipe, arguments = TINY_PIPELINES["flux"]()
    arguments = {**arguments, "height": 32, "width": 96}
    run = lambda: generate_image(pipe, "a red fox", seed=3, **arguments)  # noqa: E731
    [(_, image)] = unfinished_images(pipe, run, at=(0.5,))
    assert image.shape == (1, 3, 32, 96)


def test_errors_come_through():
    pipe, _ = TINY_PIPELINES["sd15"]()
    with pytest.raises(ConfigError, match="fractions"):
        unfinished_images(pipe, lambda: None, at=(1.5,))
    with pytest.raises(DiffusionError, match="no step"):
        unfinished_images(pipe, lambda: None, at=(0.5,))

    def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        unfinished_images(pipe, fails, at=(0.5,))
    assert "step" not in vars(pipe.scheduler)
