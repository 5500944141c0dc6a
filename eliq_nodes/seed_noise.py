"""Whether the noise of a sampling is what its seed draws, and how. Nothing of ComfyUI.

A sampling is handed its noise, not the way it came about: drawn for the batch at once, drawn image
by image (a latent with ``batch_index``), empty (a later stage), or by somebody's own noise node.
Only the first two can be drawn again for another seed as the user's own node would.

Shapes: noise [B,C,H,W] or [B,C,T,H,W].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["NoiseDraws", "find_draws"]

_MAX_DRAWS = 64  # as many images as ComfyUI takes from a latent batch; then it is nobody we know


@dataclass(frozen=True)
class NoiseDraws:
    """How a seed's noise was drawn.

    Attributes:
        indices: None = for the whole batch at once; else for each image which draw is its own.
    """

    indices: tuple[int, ...] | None = None


def find_draws(noise: Tensor, seed: int) -> NoiseDraws | None:
    """How ``seed`` draws this noise; None where it does not. No global random state is touched."""
    noise = noise.detach().cpu()
    if not noise.numel():
        return None
    if torch.equal(_draw(noise.shape, _generator(seed), noise.dtype), noise):
        return NoiseDraws()
    generator = _generator(seed)
    found: dict[int, int] = {}
    for number in range(_MAX_DRAWS):
        draw = _draw([1, *noise.shape[1:]], generator, noise.dtype)[0]
        for item in range(len(noise)):
            if item not in found and torch.equal(noise[item], draw):
                found[item] = number
        if len(found) == len(noise):
            return NoiseDraws(tuple(found[item] for item in range(len(noise))))
        if number == 0 and not noise.any():
            return None  # the noise was switched off: nothing to look for further
    return None


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _draw(shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    # Float32 first, whatever the latent's type: that is the order in which ComfyUI draws.
    return torch.randn(shape, dtype=torch.float32, generator=generator).to(dtype)
