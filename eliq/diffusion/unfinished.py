"""Images of a run that is not over: what its latents promise early, decoded and left at that.

Prematurely decoded latents are one of the paper's AI-specific negatives (section 3.2.3). The clean
estimate x0 is decoded, not the noisy latents themselves: those show noise, which anyone tells from
a picture, while x0 shows what such a model makes of too few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from ..errors import DiffusionError
from .call_size import guess_size, watch_size
from .clean_estimate import SchedulerTap, StepEstimate, check_fractions
from .decoding import latents_to_images
from .generation import returning_models

__all__ = ["unfinished_images"]


class _Enough(BaseException):
    """Ends a run from inside `scheduler.step`; modular pipelines catch every Exception there."""


def unfinished_images(
    pipe: Any, run: Callable[[], object], *, at: Iterable[float]
) -> list[tuple[StepEstimate, Tensor]]:
    """Runs a pipeline up to the last of some fractions and decodes its estimate at each of them.

    Args:
        pipe: the pipeline; left as it was.
        run: calls it, as in ``lambda: regenerate(pipe, record)``. The steps after the last fraction
            and the pipeline's own decoding are not run.
        at: fractions of the run in (0, 1].

    Returns:
        For each step that reached a fraction, in order: its estimate, and images [B,3,H,W] float32
        in [0,1]. Two fractions that one step reaches give one image.

    Raises:
        ConfigError: a fraction outside (0, 1].
        DiffusionError: a scheduler whose clean estimate is not known, or a run without steps.
            Errors of the pipeline itself come through as they are.
    """
    at = check_fractions(at)
    estimates: list[StepEstimate] = []

    def keep(estimate: StepEstimate) -> None:
        estimates.append(estimate)
        if estimate.fraction >= at[-1] - 1e-9:
            raise _Enough

    with watch_size(pipe) as seen, SchedulerTap(pipe, keep, at=at):
        try:
            with returning_models(pipe):
                run()
        except _Enough:
            pass
        size = dict(seen)
    if not estimates:
        raise DiffusionError(
            f"expected a run of {type(pipe).__name__} that calls its own scheduler, found no step "
            "of it"
        )
    images = []
    for estimate in estimates:
        # After the loop, where decoding sends no offloaded denoiser to and fro.
        height, width = size.get("height"), size.get("width")
        if height is None or width is None:
            height, width = guess_size(pipe, estimate.latents)
        decoded = latents_to_images(pipe, estimate.latents, height=height, width=width)
        images.append((estimate, decoded))
    return images
