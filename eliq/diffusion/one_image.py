"""One image of a prompt by its seed, with its record and without a critic.

What data sets are made of: nothing is scored, nothing is kept. `best_of_n` chooses among images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import PromptError
from .call_arguments import check_seed, plan_calls
from .generation import ImageSource
from .record import make_record

__all__ = ["GeneratedImage", "generate_image"]


@dataclass(frozen=True, eq=False)
class GeneratedImage:
    """An image and all that makes it again.

    Attributes:
        image: float tensor [3,H,W] in [0,1], on the device and in the type of the pipeline.
        record: plain JSON, as `regenerate` and `save_png` take it.
        is_replaced: a safety checker put another image in its place.
    """

    image: Tensor
    record: dict[str, Any]
    is_replaced: bool


def generate_image(
    pipe: Any,
    prompt: str,
    *,
    seed: int,
    generator_device: str = "cpu",
    facts: dict[str, Any] | None = None,
    **pipeline_kwargs: Any,
) -> GeneratedImage:
    """Makes one image, alone in its batch, so that `regenerate` gives the same bits again.

    Args:
        pipe: any text-to-image pipeline of diffusers; nothing of it is changed.
        generator_device: where the noise is drawn. "cpu" gives the same noise on every machine.
        facts: kept in the record beside what makes the image.
        pipeline_kwargs: passed on (steps, guidance, size, ``negative_prompt``, ...).

    Raises:
        ConfigError: a seed that is none.
        PromptError: a prompt that is no text.
        DiffusionError: an argument that the pipeline does not take, an image that does not fit into
            memory, or a pipeline that was interrupted. Its own errors come through as they are.
    """
    if not isinstance(prompt, str):
        raise PromptError(f"prompt: expected one text, found {type(prompt).__name__}")
    check_seed(seed)
    call = plan_calls(pipe, prompt, 1, pipeline_kwargs)[0]
    source = ImageSource(pipe, [seed], generator_device=generator_device, batch_size=1)
    batch = next(source.batches(call, [0]))
    record = make_record(
        pipe,
        call.for_rows([0]),
        seed=seed,
        generator_device=generator_device,
        prompt=prompt,
        size_px=tuple(batch.images.shape[2:]),
        **(facts or {}),
    )
    return GeneratedImage(batch.images[0], record, batch.is_replaced[0])
