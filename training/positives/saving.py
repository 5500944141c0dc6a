"""A generated image on its way to the disk: whether it is usable at all, and an atomic write."""

from __future__ import annotations

import os
from pathlib import Path

from eliq.diffusion import GeneratedImage, save_png
from eliq.diffusion.pixels import save_image

__all__ = ["save_generated", "why_unusable"]


def why_unusable(made: GeneratedImage) -> str | None:
    """Why an image is of no use, in one word, or None."""
    if made.is_replaced:
        return "safety_checker"
    image = made.image.float()
    if not image.isfinite().all():
        return "not_finite"
    return "constant_image" if image.max() - image.min() < 1 / 255 else None


def save_generated(made: GeneratedImage, path: Path) -> None:
    """Writes a PNG with its record, if it has one, beside its place, syncs, renames.

    Raises:
        OSError: the disk refuses; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_by_a_kill in path.parent.glob(f".{path.name}.*.partial"):
        left_by_a_kill.unlink(missing_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if made.record:
            save_png(made.image, partial, made.record)
        else:
            save_image(made.image, partial)
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
