"""Height and width of a pipeline's call, for packed latents that do not tell them.

Latents [B,L,C] of L tokens may be 32 x 48 or 48 x 32 of them.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from .pipelines import describe_pipeline, image_size

__all__ = ["guess_size", "watch_size"]


@contextmanager
def watch_size(pipe: Any) -> Iterator[dict[str, int]]:
    """While entered, a dict that holds ``height`` and ``width`` of the pipeline's latest call, in
    pixels. It listens at `prepare_latents`, and is empty until that was called.
    """
    found: dict[str, int] = {}
    original = getattr(pipe, "prepare_latents", None)
    if original is None:  # a modular pipeline
        yield found
        return
    was_own = "prepare_latents" in vars(pipe)
    signature = inspect.signature(original)

    @functools.wraps(original)
    def prepare_latents(*args: Any, **kwargs: Any) -> Any:
        arguments = signature.bind_partial(*args, **kwargs).arguments
        found.clear()
        sizes = {name: arguments.get(name) for name in ("height", "width")}
        if all(isinstance(side, int) for side in sizes.values()):
            found.update(sizes)
        return original(*args, **kwargs)

    pipe.prepare_latents = prepare_latents
    try:
        yield found
    finally:
        if vars(pipe).get("prepare_latents") is prepare_latents:
            if was_own:
                pipe.prepare_latents = original
            else:
                del pipe.prepare_latents


def guess_size(pipe: Any, latents: Tensor) -> tuple[int | None, int | None]:
    """(height, width) for packed latents where nobody said them: the pipeline's default if they
    fit it, else a square if they fit one, else (None, None).
    """
    if latents.ndim != 3:
        return None, None
    patch_px = 2 * describe_pipeline(pipe).vae_scale_factor
    height, width = image_size(pipe)
    tokens, side = latents.shape[1], math.isqrt(latents.shape[1])
    if tokens == (height // patch_px) * (width // patch_px):
        return height, width
    return (side * patch_px, side * patch_px) if side * side == tokens else (None, None)
