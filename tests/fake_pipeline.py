"""A pipeline and a scorer without a model: noise of the generator, and its mean colour as score.

They have what `eliq.diffusion` asks of real ones, and count what was asked of them.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

SIDE_PX = 16


class FakePipeline:
    """Images are noise drawn from the generators; row k belongs to generator k.

    Attributes:
        max_batch: more at once raise out-of-memory. fails: raised by the call number `fails_at`.
        calls: the arguments of every call, finished or not. frees: of its model hooks.
    """

    def __init__(self, *, max_batch: int = 1000, fails_at: int | None = None, fails: Any = None):
        self.components: dict[str, Any] = {}
        self.max_batch = max_batch
        self.fails_at, self.fails = fails_at, fails
        self.nan_seeds: set[int] = set()
        self.unsafe_seeds: set[int] = set()
        self.calls: list[dict[str, Any]] = []
        self.frees = 0
        self._interrupt = False

    @property
    def interrupt(self) -> bool:
        return self._interrupt

    def maybe_free_model_hooks(self) -> None:
        self.frees += 1

    def __call__(
        self,
        prompt: Any = None,
        height: int = SIDE_PX,
        width: int = SIDE_PX,
        num_inference_steps: int = 4,
        guidance_scale: float = 5.0,
        negative_prompt: Any = None,
        num_images_per_prompt: int = 1,
        latents: Tensor | None = None,
        prompt_embeds: Tensor | None = None,
        generator: Any = None,
        output_type: str = "pil",
        callback_on_step_end: Any = None,
    ) -> Any:
        generators = generator if isinstance(generator, list) else [generator]
        self.calls.append({
            "prompt": prompt, "negative_prompt": negative_prompt, "latents": latents,
            "prompt_embeds": prompt_embeds, "batch": len(generators), "output_type": output_type,
        })  # fmt: skip
        size = (3, height, width)
        noise = torch.stack([torch.rand(size, generator=one) for one in generators])
        for given in (latents, prompt_embeds):
            if given is not None:
                given.zero_()  # a pipeline may work in place; not on what is the user's
        if len(self.calls) - 1 == self.fails_at:
            raise self.fails
        if len(generators) > self.max_batch:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        seeds = [one.initial_seed() for one in generators]
        for row, seed in enumerate(seeds):
            if seed in self.nan_seeds:
                noise[row] = math.nan
        if callback_on_step_end is not None:
            callback_on_step_end(self, 0, 0, {})
        return SimpleNamespace(
            images=noise, nsfw_content_detected=[seed in self.unsafe_seeds for seed in seeds]
        )


class FakeScorer:
    """Visual quality is the mean of red, alignment that of green, stretched; NaN is refused."""

    source, fingerprint = "fake", "0" * 64

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.devices: list[torch.device] = []

    def score(self, images: Tensor, prompts: list[str]) -> Any:
        self.prompts += prompts
        self.devices.append(images.device)
        means = ((images.float().mean(dim=(2, 3)) - 0.5) * 5 + 0.5).clamp(0, 1)
        quality, alignment = means[:, 0].clone(), means[:, 1].clone()
        alignment[[not prompt for prompt in prompts]] = math.nan
        errors = ["the tensor has NaN values" if one.isnan() else None for one in quality]
        flags = [["nonfinite_input"] if error else [] for error in errors]
        return SimpleNamespace(
            visual_quality=quality, alignment=alignment, flags=flags, errors=errors
        )


class RejectingScorer:
    """Refuses every image."""

    def score(self, images: Tensor, prompts: list[str]) -> Any:
        nothing = torch.full((len(images),), math.nan)
        return SimpleNamespace(
            visual_quality=nothing,
            alignment=nothing,
            flags=[["constant_image"]] * len(images),
            errors=["rejected"] * len(images),
        )
