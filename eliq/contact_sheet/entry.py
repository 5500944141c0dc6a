"""One cell of a contact sheet, and what its texts and thumbnail are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import ImageError
from ..shown_text import one_line

__all__ = ["SheetEntry", "load_thumbnail"]


@dataclass(frozen=True)
class SheetEntry:
    """One scored image.

    Attributes:
        path: the image file; its name stands under the thumbnail.
        prompt: the prompt it was scored with, or None.
        visual_quality: 0..1, higher is better; None if it was not scored.
        alignment: 0..1, higher is better; None if it was not scored or has no prompt.
        flags: short words such as ``no_prompt``.
        error: one line that says why the image was not scored, or None.
    """

    path: str
    prompt: str | None = None
    visual_quality: float | None = None
    alignment: float | None = None
    flags: tuple[str, ...] = ()
    error: str | None = None

    @property
    def name(self) -> str:
        """The file's name, fit to be shown."""
        return one_line(Path(self.path).name)


def load_thumbnail(entry: SheetEntry, width_px: int, height_px: int) -> Image.Image | None:
    """The image as it was scored, shrunk into the box; None if it failed or cannot be read.

    A file that the scorer refused is not opened a second time.
    """
    if entry.error is not None:
        return None
    from ..images import load_image

    try:
        loaded = load_image(entry.path)
    except ImageError:
        return None
    if loaded.pixels is None:
        return None
    pixels = (loaded.pixels * 255.0).round().clamp(0, 255).byte().permute(1, 2, 0)
    image = Image.fromarray(pixels.contiguous().cpu().numpy())
    image.thumbnail((width_px, height_px), Image.Resampling.LANCZOS)
    return image
