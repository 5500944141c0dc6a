"""One job of a build: read a picture, make its tuple or ladder, write the images, return the row.

Runs in the building process or in a worker; what it makes depends on the job alone, so the number
of workers and the order of jobs change nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .config import SupervisionConfig
from .distortions import DISTORTIONS, MIN_SIDE_PX
from .fitting import fit_to, jpeg_history
from .generated import GeneratedNegative
from .negatives import (
    MIN_DIFFERENCE,
    DamagedImage,
    difference,
    make_ladder,
    make_visual_negatives,
)
from .rows import LadderRow, LadderStep, Negative, TupleRow
from .sources import Source

__all__ = [
    "PARTIAL_SUFFIX",
    "Job",
    "Skipped",
    "read_negative",
    "read_pixels",
    "read_positive",
    "run_job",
]

PARTIAL_SUFFIX = ".partial"


@dataclass(frozen=True)
class Job:
    """A tuple to make (with its wrong prompt) or, where there is no wrong prompt, a ladder.

    `generated` are the negatives of this source that generators made; `prompt_group` as in rows.
    """

    row_id: str
    seed: int
    source: Source
    negative_prompt: str | None = None
    negative_prompt_kind: str | None = None
    generated: tuple[GeneratedNegative, ...] = ()
    prompt_group: str = ""


@dataclass(frozen=True)
class Skipped:
    """A source that gave no row, and why: one word to count by, and one line to read."""

    source: str
    reason: str
    message: str


def run_job(job: Job, out_dir: str, config: SupervisionConfig) -> TupleRow | LadderRow | Skipped:
    """Makes one row and writes its images, each under a temporary name and then renamed."""
    positive = read_positive(job.source, config)
    if isinstance(positive, Skipped):
        return positive
    rng = np.random.default_rng(job.seed)
    is_tuple = job.negative_prompt is not None
    if is_tuple:
        given = _given(job, positive, config) if job.generated else None
        made = make_visual_negatives(positive, rng, config, given=given)
    else:
        made = make_ladder(positive, rng, config)
    if made is None:
        return Skipped(job.source.name, "no_visible_negative", "no distortion changes it")
    write = _writer(Path(out_dir), config)
    # One positive a source: the tuples and ladders of a picture share the file.
    name = hashlib.sha256(job.source.name.encode()).hexdigest()[:16]
    common = {
        "seed": job.seed,
        "prompt": job.source.prompt,
        "positive": write(f"{name}_positive", positive),
        "source": job.source.name,
        "size": positive.shape[:2],
        "codec": config.codec,
    }
    if is_tuple:

        def negative(aspect: str, damaged: DamagedImage) -> Negative:
            path = write(f"{job.row_id}_{aspect}", damaged.image)
            return Negative(path, damaged.distortion, damaged.severity, damaged.parameters)

        return TupleRow(
            tuple_id=job.row_id,
            family=made.family,
            negative_prompt=job.negative_prompt,
            negative_prompt_kind=job.negative_prompt_kind,
            technical=negative("technical", made.technical),
            aesthetic=negative("aesthetic", made.aesthetic),
            prompt_group=job.prompt_group,
            **common,
        )
    steps = tuple(
        LadderStep(write(f"{job.row_id}_{n}", step.image), step.severity, step.parameters)
        for n, step in enumerate(made.steps, start=1)
    )
    distortion = DISTORTIONS[made.distortion]
    return LadderRow(
        ladder_id=job.row_id,
        family=distortion.family,
        aspect=distortion.aspect,
        distortion=distortion.name,
        steps=steps,
        **common,
    )


def _given(
    job: Job, positive: np.ndarray, config: SupervisionConfig
) -> Callable[[str, str], DamagedImage | None]:
    """What `make_visual_negatives` asks for: one of the generated negatives, at random."""
    # A stream of its own: which distortions are drawn does not depend on what was generated.
    rng = np.random.default_rng([job.seed, 2])

    def given(family: str, aspect: str) -> DamagedImage | None:
        fitting = [g for g in job.generated if (g.family, g.aspect) == (family, aspect)]
        if not fitting or rng.random() >= config.generated_share:
            return None
        chosen = fitting[int(rng.integers(len(fitting)))]
        image = read_negative(chosen, job.source, positive)
        if image is None or difference(positive, image) < MIN_DIFFERENCE:
            return None
        facts = {"generation_prompt": chosen.generation_prompt, **chosen.parameters}
        return DamagedImage(image, chosen.kind, chosen.severity, facts)

    return given


def read_negative(
    negative: GeneratedNegative, source: Source, positive: np.ndarray
) -> np.ndarray | None:
    """A generated negative as it will stand beside its positive, in its size and compression.

    Args:
        positive: uint8 [H,W,3], as `read_positive` gives it.

    Returns:
        uint8 [H,W,3], or None where the file cannot be read or would have to be enlarged.
    """
    image = read_pixels(negative.path)
    if isinstance(image, tuple):
        return None
    history = jpeg_history(source.path)
    return fit_to(image if history is None else history.apply(image), *positive.shape[:2])


def read_positive(source: Source, config: SupervisionConfig) -> np.ndarray | Skipped:
    """The picture as uint8 [H,W,3], reduced to `max_side_px`, or why there is none."""
    image = read_pixels(source.path)
    if isinstance(image, tuple):
        return Skipped(source.name, *image)
    height, width = image.shape[:2]
    scale = config.max_side_px / max(height, width)
    if scale < 1:
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        image = np.asarray(small)
    if min(height, width) < MIN_SIDE_PX:
        message = f"{height}x{width} px, needs {MIN_SIDE_PX} px a side"
        return Skipped(source.name, "too_small", message)
    return np.ascontiguousarray(image)


def read_pixels(path: str | os.PathLike[str]) -> np.ndarray | tuple[str, str]:
    """A picture as uint8 [H,W,3], or a word and a line that say why there is none."""
    # torch comes with it: only the processes that read pictures pay for that.
    from ..images import load_image

    loaded = load_image(path)
    if loaded.pixels is None:
        return str(loaded.error_class), str(loaded.error)
    if "constant_image" in loaded.flags:
        return "constant_image", "every pixel is the same"
    return (loaded.pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def _writer(out_dir: Path, config: SupervisionConfig) -> Callable[[str, np.ndarray], str]:
    """A function that writes an image in the codec of the set and returns its relative path."""
    is_png = config.codec == "png"
    options: dict = {"format": "PNG", "compress_level": 1}
    if not is_png:
        options = {"format": "JPEG", "quality": int(config.codec.removeprefix("jpeg-q"))}

    def write(name: str, image: np.ndarray) -> str:
        # By the first two letters of the id: no folder grows past what tools list quickly.
        relative = f"images/{name[:2]}/{name}{'.png' if is_png else '.jpg'}"
        path = out_dir / relative
        # Another row of the same source has made it, or a run that was killed before it could say
        # so; the name stands for seed, source and settings, and what has it is whole.
        if path.exists():
            return relative
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")
        Image.fromarray(image).save(partial, **options)
        os.replace(partial, path)
        return relative

    return write
