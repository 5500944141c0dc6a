"""A contact strip of a batch with the scores drawn under each image. Nothing of ComfyUI.

Shapes: B images of H x W px; a strip is one RGB picture of at most `MAX_IMAGES` cells in rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["MAX_IMAGES", "draw_strip"]

MAX_IMAGES = 32
_CELL_PX = 256  # width of a cell; a picture is scaled to fit into it
_TALLEST = 1.6  # heights of a cell's picture, in cells
_GAP_PX = 10
_BAR_PX = 14
_ROW_PX = 26  # of a score: its name, its bar, its number
_BACKGROUND = (24, 24, 27)
_TRACK = (63, 63, 70)
_INK = (244, 244, 245)
_FAINT = (161, 161, 170)
_BEST = (250, 204, 21)
_LOW, _MIDDLE, _HIGH = (220, 68, 68), (217, 160, 40), (52, 180, 106)


def draw_strip(
    images_bchw: Sequence[Tensor] | Tensor,
    visual_quality: Sequence[float],
    alignment: Sequence[float],
    errors: Sequence[str | None] | None = None,
) -> Image.Image:
    """The first `MAX_IMAGES` of B images, each over two bars with its scores.

    The image with the best mean of both scores has a golden frame when there are several. Scores
    that are NaN are drawn as an empty bar and a dash.

    Args:
        images_bchw: [B,3,H,W], or B of [3,H,W], float in 0..1.
        visual_quality, alignment: [B] in 0..1.
        errors: [B], None where an image was scored.

    Raises:
        ValueError: no image, or not as many scores as images.
    """
    total = len(images_bchw)
    if not total or not len(visual_quality) == len(alignment) == total:
        raise ValueError(
            f"strip: expected as many scores as images, at least one, found {total} images and "
            f"{len(visual_quality)} and {len(alignment)} scores"
        )
    shown = min(total, MAX_IMAGES)
    pictures = [_thumbnail(images_bchw[i]) for i in range(shown)]
    columns = _columns(shown)
    picture_px = max(picture.height for picture in pictures)
    cell_px = picture_px + 2 * _ROW_PX + 8
    rows = math.ceil(shown / columns)
    footer_px = _ROW_PX if total > shown else 0
    strip = Image.new(
        "RGB",
        (
            columns * (_CELL_PX + _GAP_PX) + _GAP_PX,
            rows * (cell_px + _GAP_PX) + _GAP_PX + footer_px,
        ),
        _BACKGROUND,
    )
    draw, font = ImageDraw.Draw(strip), _font(15)
    best = _best(visual_quality, alignment) if total > 1 else None
    for i, picture in enumerate(pictures):
        left = _GAP_PX + (i % columns) * (_CELL_PX + _GAP_PX)
        top = _GAP_PX + (i // columns) * (cell_px + _GAP_PX)
        at = (left + (_CELL_PX - picture.width) // 2, top + (picture_px - picture.height) // 2)
        strip.paste(picture, at)
        if i == best:
            frame = (at[0] - 3, at[1] - 3, at[0] + picture.width + 2, at[1] + picture.height + 2)
            draw.rectangle(frame, outline=_BEST, width=4)
        if total > 1:
            _tag(draw, at, f"{i}", font, is_best=i == best)
        below = top + picture_px + 6
        if errors is not None and errors[i] is not None:
            draw.text((left, below), "not scored", fill=_LOW, font=font)
            continue
        for name, score in (("quality", visual_quality[i]), ("alignment", alignment[i])):
            _bar(draw, left, below, name, score, font)
            below += _ROW_PX
    if footer_px:
        text = f"and {total - shown} more"
        draw.text((_GAP_PX, strip.height - footer_px - 2), text, fill=_FAINT, font=font)
    return strip


def _columns(count: int) -> int:
    """Cells side by side: one row of up to four, then near to a square."""
    return count if count <= 4 else min(8, max(4, math.ceil(math.sqrt(count))))


def _thumbnail(image: Tensor) -> Image.Image:
    finite = torch.nan_to_num(image.detach().to("cpu", torch.float32), nan=0.0)
    pixels = (finite.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    scale = min(_CELL_PX / picture.width, _CELL_PX * _TALLEST / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _bar(
    draw: ImageDraw.ImageDraw, left: int, top: int, name: str, score: float, font: ImageFont
) -> None:
    draw.text((left, top + 3), name, fill=_FAINT, font=font)
    start, end = left + 76, left + _CELL_PX - 46
    middle = top + _ROW_PX // 2
    box = (start, middle - _BAR_PX // 2, end, middle + _BAR_PX // 2)
    draw.rounded_rectangle(box, radius=_BAR_PX // 2, fill=_TRACK)
    if math.isnan(score):
        draw.text((end + 10, top + 3), "-", fill=_FAINT, font=font)
        return
    share = min(max(score, 0.0), 1.0)
    filled = start + max(_BAR_PX, round((end - start) * share))
    draw.rounded_rectangle((start, box[1], filled, box[3]), radius=_BAR_PX // 2, fill=_hue(share))
    draw.text((end + 8, top + 3), f"{score:.2f}", fill=_INK, font=font)


def _tag(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font: ImageFont, *, is_best: bool
) -> None:
    """The number of an image in the batch, in its upper left corner."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    box = (at[0], at[1], at[0] + right - left + 12, at[1] + 22)
    draw.rectangle(box, fill=_BEST if is_best else _BACKGROUND)
    ink = _BACKGROUND if is_best else _INK
    draw.text((at[0] + 6 - left, at[1] + 11 - (top + bottom) / 2), text, fill=ink, font=font)


def _hue(share: float) -> tuple[int, ...]:
    low, high, t = (_LOW, _MIDDLE, share * 2) if share < 0.5 else (_MIDDLE, _HIGH, share * 2 - 1)
    return tuple(round(a + (b - a) * t) for a, b in zip(low, high, strict=True))


def _best(visual_quality: Sequence[float], alignment: Sequence[float]) -> int | None:
    means = [
        q if math.isnan(a) else (q + a) / 2 for q, a in zip(visual_quality, alignment, strict=True)
    ]
    scored = [i for i, mean in enumerate(means) if not math.isnan(mean)]
    return max(scored, key=lambda i: means[i]) if scored else None


def _font(size: int) -> ImageFont:
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow below 10.1 has one size
        return ImageFont.load_default()
