"""`ScoreCallback` as a block in the loop of a modular pipeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diffusers.modular_pipelines import InputParam, ModularPipelineBlocks

from ..errors import DiffusionError
from .clean_estimate import estimate_step, find_scheduler
from .schedulers import Position

if TYPE_CHECKING:
    from .callback import ScoreCallback

__all__ = ["ScoreBlock"]


class ScoreBlock(ModularPipelineBlocks):
    """Scores the clean image that ``noise_pred`` and ``latents`` of a loop stand for.

    It stands between the block that runs the denoiser and the one that steps the scheduler, and
    patches nothing.
    """

    def __init__(self, callback: ScoreCallback) -> None:
        super().__init__()
        self._callback = callback

    def __deepcopy__(self, memo: dict[int, Any]) -> ScoreBlock:
        return ScoreBlock(self._callback)  # a pipeline works with copies of its blocks

    @property
    def description(self) -> str:
        return "Step within the denoising loop that scores the image that is on its way."

    @property
    def inputs(self) -> list[InputParam]:
        return [InputParam("height", type_hint=int), InputParam("width", type_hint=int)]

    def __call__(self, components: Any, block_state: Any, i: int, t: Any) -> tuple[Any, Any]:
        """Raises:
        DiffusionError: the block stands behind the scheduler's step, or in another loop.
        RunAborted: as `ScoreCallback.receive`.
        """
        scheduler = find_scheduler(components)
        begin = getattr(scheduler, "begin_index", None) or 0
        position = Position(i, max(len(scheduler.timesteps) - begin, 1), begin + i)
        if not self._callback.is_due(position):
            return components, block_state
        names = ("noise_pred", "latents")
        output, sample = (getattr(block_state, name, None) for name in names)
        has_stepped = getattr(scheduler, "_step_index", None) == begin + i + 1
        if output is None or sample is None or has_stepped:
            raise DiffusionError(
                "the score block: expected a place in the denoising loop between `denoiser` and "
                "`after_denoiser`, where noise_pred and latents belong together"
            )
        estimate = estimate_step(
            scheduler,
            output,
            t,
            sample,
            position=position,
            is_first_order=getattr(scheduler, "state_in_first_order", True),
        )
        size = {name: getattr(block_state, name, None) for name in ("height", "width")}
        self._callback.receive(components, estimate, **size)
        return components, block_state
