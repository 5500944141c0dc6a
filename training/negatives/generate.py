"""One negative by its job and a loaded pipeline: the image and what the list says of it."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from PIL import Image

from eliq.diffusion import (
    GeneratedImage,
    generate_image,
    read_record,
    regenerate,
    unfinished_images,
)
from eliq.errors import DiffusionError
from eliq.images import load_image

from ..positives import ModelSettings, image_seed, why_unusable
from .config import NegativesConfig
from .plan import Job

__all__ = ["generate_negative"]

log = logging.getLogger("eliq")


def generate_negative(
    pipe: Any, settings: ModelSettings, job: Job, config: NegativesConfig
) -> tuple[GeneratedImage | None, dict[str, Any]]:
    """Makes the image of a job, with other seeds where one is unusable.

    An early decode of a positive that still has its record repeats the very run that made it, so
    that the two show the same scene; of any other positive it is a run of its own.

    Returns:
        (the image, or None where none was usable; facts for the list: model, seed, attempt, and
        what the kind adds, or `left_out` with the reason).

    Raises:
        DiffusionError: a model that does not take its settings, or too little memory. Errors of
            the pipeline itself come through as they are.
    """
    reason = None
    for attempt in range(config.max_tries):
        seed = image_seed(config.seed, f"{job.kind}:{settings.name}", job.negative_id, attempt)
        arguments = {**settings.arguments, "generator_device": config.generator_device}
        facts: dict[str, Any] = {"model": settings.name, "seed": seed, "attempt": attempt}
        if job.kind == "early_decode":
            made, more = _early(pipe, job, seed, attempt, arguments)
        else:
            more = {} if job.change is None else {"change": job.change}
            if job.kind == "instruction_edit":
                arguments["image"] = _picture(job.positive.path)
            made = generate_image(
                pipe, job.generation_prompt, seed=seed, facts=_labels(job), **arguments
            )
        reason = why_unusable(made)
        if reason is None:
            return made, {**facts, **more}
        log.warning("%s, %s, seed %d: %s", job.negative_id, settings.name, seed, reason)
    return None, {"model": settings.name, "left_out": reason, "num_tries": config.max_tries}


def _early(
    pipe: Any, job: Job, seed: int, attempt: int, arguments: dict[str, Any]
) -> tuple[GeneratedImage, dict[str, Any]]:
    record = _own_record(pipe, job) if attempt == 0 else None
    if record is not None:
        run = partial(regenerate, pipe, record, output_type="pt")
        seed = record["seed"]
    else:
        run = partial(generate_image, pipe, job.generation_prompt, seed=seed, **arguments)
    [(estimate, images)] = unfinished_images(pipe, run, at=(job.fraction,))
    facts = {
        "seed": seed,
        "fraction": round(estimate.fraction, 4),
        "step": estimate.step_index + 1,
        "num_steps": estimate.num_steps,
        "same_run": record is not None,
    }
    # No whole run made this image, so it has no record that `regenerate` would take.
    return GeneratedImage(images[0], {}, False), facts


def _own_record(pipe: Any, job: Job) -> dict[str, Any] | None:
    """The record of the positive, where its file holds one that this pipeline made."""
    if job.positive.model != job.model:
        return None
    try:
        record = read_record(job.positive.path)
    except DiffusionError:
        return None
    return record if record.get("pipeline") == type(pipe).__name__ else None


def _labels(job: Job) -> dict[str, Any]:
    return {"negative_id": job.negative_id, "kind": job.kind, "positive": job.positive.name}


def _picture(path: str) -> Image.Image:
    """The positive as the scorer would decode it."""
    loaded = load_image(path)
    if loaded.pixels is None:
        raise DiffusionError(f"{path}: expected a readable image to edit, found {loaded.error}")
    pixels = (loaded.pixels.permute(1, 2, 0) * 255).round().byte().numpy()
    return Image.fromarray(pixels)
