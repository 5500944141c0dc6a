"""Calls of the pipeline, as many candidates at once as its memory holds.

Shapes: B images of one call [B,3,H,W], float in [0,1], on the device of the pipeline.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DiffusionError
from .call_arguments import PromptCall, make_generator
from .pipelines import describe_pipeline, execution_device, free_hooks
from .pixels import to_batch

__all__ = ["GeneratedBatch", "ImageSource", "candidate_bar", "first_batch_size"]

logger = logging.getLogger("eliq")
_ACCELERATOR_BATCH = 8
# The last: what cuBLAS and cuDNN say when there is no memory left for their own work.
_MEMORY_WORDS = (
    "out of memory", "can't allocate memory", "not enough memory", "status_alloc_failed"
)  # fmt: skip


class GeneratedBatch:
    """Images of one call.

    Attributes:
        rows: which candidates they are.
        images: [B,3,H,W].
        is_replaced: [B], whether a safety checker put another image in its place.
    """

    def __init__(self, rows: list[int], images: Tensor, is_replaced: list[bool]) -> None:
        self.rows = rows
        self.images = images
        self.is_replaced = is_replaced


class ImageSource:
    """Makes candidates by their seeds; remembers how many fit into memory at once.

    Args:
        pipe: the pipeline; nothing of it is changed.
        seeds: one a candidate.
        generator_device: where the noise is drawn; images depend on it.
        batch_size: at most so many at once.
    """

    def __init__(
        self, pipe: Any, seeds: Sequence[int], *, generator_device: str, batch_size: int
    ) -> None:
        self.pipe = pipe
        self.seeds = list(seeds)
        self.generator_device = generator_device
        self.batch_size = batch_size

    def batches(self, call: PromptCall, rows: Sequence[int]) -> Iterator[GeneratedBatch]:
        """The candidates ``rows`` of a prompt, in order; a batch that does not fit is halved.

        Raises:
            DiffusionError: one image alone does not fit, the pipeline gives no images, or it was
                interrupted. Errors of the pipeline itself come through as they are.
        """
        waiting = list(rows)
        while waiting:
            part = waiting[: self.batch_size]
            batch = self._run_or_none(call, part)
            if batch is not None:
                del waiting[: len(part)]
                yield batch
            elif len(part) == 1:
                raise DiffusionError(
                    "expected memory for one image at a time, found too little: ask for a smaller "
                    "image, load the pipeline in half precision, or call "
                    "pipe.enable_model_cpu_offload()"
                )
            else:
                self.batch_size = len(part) // 2
                logger.info("%d images at once do not fit into memory: halved", len(part))

    def _run_or_none(self, call: PromptCall, rows: list[int]) -> GeneratedBatch | None:
        try:
            return self._run(call, rows)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here, with the exception gone, do its frames no longer hold the tensors of the call.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _run(self, call: PromptCall, rows: list[int]) -> GeneratedBatch:
        # Fresh generators at every attempt: one that failed half-way has drawn from its own.
        generators = [make_generator(self.seeds[row], self.generator_device) for row in rows]
        arguments = call.for_rows(rows)
        with returning_models(self.pipe):
            output = call_for_tensors(
                self.pipe,
                arguments,
                generators[0] if len(rows) == 1 else generators,
            )
        images, is_replaced = images_and_replaced(output, len(rows))
        return GeneratedBatch(rows, images, is_replaced)


def call_for_tensors(pipe: Any, arguments: dict[str, Any], generator: Any) -> Any:
    """Call the pipeline for images [B,3,H,W] in [0,1] that stay on its device.

    Raises:
        DiffusionError: something interrupted it, so that its images are unfinished.
    """
    facts = describe_pipeline(pipe)
    if facts.modular:
        return pipe(**arguments, generator=generator, output_type="pt", output="images")
    if facts.honours_interrupt and getattr(pipe, "_interrupt", False):
        pipe._interrupt = False  # as the pipeline does when it starts; some forget to
    output = pipe(**arguments, generator=generator, output_type="pt")
    if facts.honours_interrupt and getattr(pipe, "_interrupt", False):
        raise DiffusionError(
            "the pipeline was interrupted (pipe._interrupt), so that its images are unfinished: "
            "expected a run to its end; to stop hopeless candidates early use prune="
        )
    return output


def images_and_replaced(output: Any, num_images: int) -> tuple[Tensor, list[bool]]:
    """Images [B,3,H,W] of a pipeline's output, and which of them a safety checker replaced."""
    images = getattr(output, "images", None)
    if images is None:
        images = output[0] if isinstance(output, tuple) and output else output
    replaced = getattr(output, "nsfw_content_detected", None)
    if not isinstance(replaced, (list, tuple)) or len(replaced) != num_images:
        replaced = [False] * num_images
    return to_batch(images, num_images), [bool(one) for one in replaced]


@contextmanager
def returning_models(pipe: Any) -> Iterator[None]:
    """After an exception, offloaded models go back to where they wait, as after a whole run."""
    try:
        yield
    except BaseException:
        free_hooks(pipe)
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had too little memory; some backends only say so."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _MEMORY_WORDS)


def first_batch_size(pipe: Any, num_candidates: int, batch_size: int | None) -> int:
    """How many candidates are tried at once.

    Args:
        batch_size: as the user says; None = up to 8 on an accelerator, and 1 on a CPU, where a
            batch saves no time and one at a time gives the very bits of a call alone.

    Raises:
        ConfigError: no whole number above 0.
    """
    if batch_size is None:
        is_cpu = execution_device(pipe).type == "cpu"
        return 1 if is_cpu else min(num_candidates, _ACCELERATOR_BATCH)
    check_count("batch_size", batch_size)
    return min(batch_size, num_candidates)


def check_count(name: str, value: Any) -> None:
    """Refuse what is no whole number above 0.

    Raises:
        ConfigError: such a value.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name}: expected a whole number above 0, found {value!r}")


@contextmanager
def candidate_bar(pipe: Any, total: int, words: str, *, shown: bool | None) -> Iterator[Any]:
    """A progress bar of candidates that follows the pipeline's own setting.

    Args:
        shown: None or True = as ``pipe.set_progress_bar_config`` says, False = none.
    """
    make = getattr(pipe, "progress_bar", None)
    if shown is False or make is None:
        from tqdm import tqdm

        # Without a pipeline's setting: disable=None hides the bar where stderr is no terminal.
        bar = tqdm(total=total, disable=None if shown else True)
    else:
        bar = make(total=total)
    with bar:
        if hasattr(bar, "set_description"):
            bar.set_description(words)
        yield bar
