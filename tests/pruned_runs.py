"""Shared by the tests of pruned runs: a scorer, the unpruned run, and what may be left patched."""

from __future__ import annotations

import copy
import functools
import math
from types import SimpleNamespace

import torch

from eliq.diffusion.call_arguments import make_generator
from eliq.diffusion.prune_schedule import PruneSchedule
from tests.tiny_pipelines import TINY_PIPELINES

PROMPT = "a red fox"
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


@functools.cache
def tiny(name):
    """A pipeline and how to call it, built once; who changes it takes a copy of their own."""
    return TINY_PIPELINES[name]()


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
