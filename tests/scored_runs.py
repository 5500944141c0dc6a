"""Tiny pipelines with a scorer whose scores are plain to see, and how tests watch them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.tiny_pipelines import TINY_PIPELINES

PROMPT = "a red fox"
QUARTERS = (0.25, 0.5, 0.75, 1.0)


class MeanScorer:
    """Visual quality = mean of the pixels; remembers what it was given."""

    def __init__(self, alignment=0.5):
        self.alignment, self.images, self.prompts = alignment, [], []

    def score(self, images, prompts):
        self.images.append(images.clone())
        self.prompts.append(list(prompts))
        count = len(images)
        return SimpleNamespace(
            visual_quality=images.mean(dim=(1, 2, 3)),
            alignment=torch.full((count,), self.alignment),
            flags=[()] * count,
            errors=[None] * count,
        )


def built(name):
    """A pipeline, and a function that calls it with the same seed every time."""
    pipe, call_kwargs = TINY_PIPELINES[name]()

    def arguments(seed=0, **kwargs):
        generator = torch.Generator().manual_seed(seed)
        kwargs = {"prompt": PROMPT, "output_type": "pt", **kwargs}
        return {"generator": generator, **call_kwargs, **kwargs}

    return pipe, arguments


def modular(name, blocks):
    """The same for the modular pipeline of these blocks, on the components of a plain one."""
    blocks_of = getattr(pytest.importorskip("diffusers.modular_pipelines"), blocks, None)
    if not hasattr(blocks_of, "get_workflow"):
        pytest.skip("this diffusers has no such modular pipeline")
    plain, arguments = built(name)
    pipe = blocks_of().get_workflow("text2image").init_pipeline()
    known = set(pipe.components)
    pipe.update_components(**{k: v for k, v in plain.components.items() if k in known})
    pipe.set_progress_bar_config(disable=True)
    return pipe, lambda **kwargs: {**arguments(**kwargs), "output": "images"}


def denoiser_of(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


class counted:
    """Counts the calls of a module's forward (or fails at one) while entered."""

    def __init__(self, module, *, fail_at=None, output=None):
        self.calls, self.fail_at, self.output, self.module = 0, fail_at, output, module

    def hook(self, module, args, result):
        self.calls += 1
        if self.calls == self.fail_at:
            raise RuntimeError("the denoiser broke")
        return result if self.output is None else self.output(result)

    def __enter__(self):
        self.handle = self.module.register_forward_hook(self.hook)
        return self

    def __exit__(self, *_):
        self.handle.remove()


def is_untouched(pipe):
    return "step" not in vars(pipe.scheduler) and "prepare_latents" not in vars(pipe)
