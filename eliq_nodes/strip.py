"""A contact strip of a batch with the scores drawn under each image. Nothing of ComfyUI.

It is read at a third of its size, on a node: few columns and large letters.

Shapes: B images of H x W px; a strip is one RGB picture of at most `MAX_IMAGES` cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .pixels import to_bhwc

__all__ = ["MAX_IMAGES", "draw_strip"]

MAX_IMAGES = 36
_CELL_PX = 288  # width of a cell; a picture is scaled to fit into it
_TALLEST = 1.5  # a picture's greatest height, in widths of a cell
_MARGIN_PX = 12
_BAR_PX = 16
_LINE_PX = 30  # of a score: its name, its bar, its number
_FONT_PX = 20
_NAME_PX, _NUMBER_PX = 96, 46
_BACKGROUND = (24, 24, 27)
_TRACK = (63, 63, 70)
_INK = (244, 244, 245)
_FAINT = (178, 178, 186)
_BEST = (250, 204, 21)
_LOW, _MIDDLE, _HIGH = (224, 76, 76), (222, 165, 44), (58, 186, 112)


def draw_strip(
    images_bchw: Sequence[Tensor] | Tensor,
    visual_quality: Sequence[float],
    alignment: Sequence[float],
    errors: Sequence[str | None] | None = None,
) -> Image.Image:
    """The first `MAX_IMAGES` of B images, each over a bar for each of its scores.

    The image with the best mean of both scores has a golden frame when there are several. A score
    that is NaN is an empty bar and a dash; where no image has an alignment, it has no bar.

    Args:
        images_bchw: [B,3,H,W], or B of [3,H,W], float in 0..1; NaN is drawn black.
        visual_quality, alignment: [B] in 0..1.
        errors: [B], None where an image was scored.

    Raises:
        ValueError: no image, or not as many scores as images.
    """
    total = len(images_bchw)
    if not total or not len(visual_quality) == len(alignment) == total:
        raise ValueError(
            f"strip: expected as many scores as images, at least one, found {total} images, "
            f"{len(visual_quality)} visual qualities and {len(alignment)} alignments"
        )
    shown = min(total, MAX_IMAGES)
    columns = math.ceil(math.sqrt(shown))
    bars = [("quality", visual_quality)]
    if not all(math.isnan(score) for score in alignment):
        bars.append(("alignment", alignment))
    rows = [range(first, min(first + columns, shown)) for first in range(0, shown, columns)]
    pictures = [_thumbnail(images_bchw[i]) for i in range(shown)]
    tallest = [max(pictures[i].height for i in row) for row in rows]  # px, of each row
    below_px = len(bars) * _LINE_PX + 2 * _MARGIN_PX
    more_px = _LINE_PX if total > shown else 0
    size = (
        columns * (_CELL_PX + _MARGIN_PX) + _MARGIN_PX,
        sum(tallest) + len(rows) * below_px + _MARGIN_PX + more_px,
    )
    strip = Image.new("RGB", size, _BACKGROUND)
    draw, font = ImageDraw.Draw(strip), _font()
    best = _best(visual_quality, alignment) if total > 1 else None
    top = _MARGIN_PX
    for row, height in zip(rows, tallest, strict=True):
        for column, i in enumerate(row):
            left = _MARGIN_PX + column * (_CELL_PX + _MARGIN_PX)
            picture = pictures[i]
            at = (left + (_CELL_PX - picture.width) // 2, top + (height - picture.height) // 2)
            strip.paste(picture, at)
            if i == best:
                _frame(draw, at, picture.size)
            if total > 1:
                _tag(draw, at, str(i), font, is_best=i == best)
            line = top + height + _MARGIN_PX // 2
            if errors is not None and errors[i] is not None:
                draw.text((left, line), "not scored", fill=_LOW, font=font)
                continue
            for name, scores in bars:
                _bar(draw, left, line, name, scores[i], font)
                line += _LINE_PX
        top += height + below_px
    if more_px:
        draw.text((_MARGIN_PX, top - 4), f"and {total - shown} more", fill=_FAINT, font=font)
    return strip


def _thumbnail(image: Tensor) -> Image.Image:
    finite = torch.nan_to_num(image.detach().to("cpu", torch.float32), nan=0.0)
    pixels = (to_bhwc(finite[None])[0] * 255.0).round().to(torch.uint8).numpy()
    picture = Image.fromarray(pixels)
    scale = min(_CELL_PX / picture.width, _CELL_PX * _TALLEST / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _bar(draw: ImageDraw.ImageDraw, left: int, top: int, name: str, score: float, font) -> None:
    """A score's name, its share of 0..1 in colour, and the number; both texts on one middle."""
    middle = top + _LINE_PX // 2
    draw.text((left, middle), name, fill=_FAINT, font=font, anchor=_anchor(font, "l"))
    start, end = left + _NAME_PX, left + _CELL_PX - _NUMBER_PX
    upper, lower = middle - _BAR_PX // 2, middle + _BAR_PX // 2
    draw.rounded_rectangle((start, upper, end, lower), radius=_BAR_PX // 2, fill=_TRACK)
    known = not math.isnan(score)
    share = min(max(score, 0.0), 1.0) if known else 0.0
    if share >= 0.005:  # less is 0.00 in print: no bar
        filled = start + max(_BAR_PX, round((end - start) * share))
        box = (start, upper, filled, lower)
        draw.rounded_rectangle(box, radius=_BAR_PX // 2, fill=_hue(share))
    text, ink = (f"{score:.2f}", _INK) if known else ("-", _FAINT)
    draw.text((left + _CELL_PX, middle), text, fill=ink, font=font, anchor=_anchor(font, "r"))


def _frame(draw: ImageDraw.ImageDraw, at: tuple[int, int], size: tuple[int, int]) -> None:
    box = (at[0] - 4, at[1] - 4, at[0] + size[0] + 3, at[1] + size[1] + 3)
    draw.rectangle(box, outline=_BEST, width=5)


def _tag(draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, font, *, is_best: bool) -> None:
    """The number of an image in the batch, in its upper left corner."""
    width = round(draw.textlength(text, font=font)) + 14
    box = (at[0], at[1], at[0] + width, at[1] + _LINE_PX - 2)
    draw.rectangle(box, fill=_BEST if is_best else _BACKGROUND)
    ink = _BACKGROUND if is_best else _INK
    middle = (at[0] + width // 2, at[1] + _LINE_PX // 2)
    draw.text(middle, text, fill=ink, font=font, anchor=_anchor(font, "m"))


def _hue(share: float) -> tuple[int, ...]:
    """Red at 0, amber at 0.5, green at 1."""
    low, high, t = (_LOW, _MIDDLE, share * 2) if share < 0.5 else (_MIDDLE, _HIGH, share * 2 - 1)
    return tuple(round(a + (b - a) * t) for a, b in zip(low, high, strict=True))


def _best(visual_quality: Sequence[float], alignment: Sequence[float]) -> int | None:
    means = [
        quality if math.isnan(aligned) else (quality + aligned) / 2
        for quality, aligned in zip(visual_quality, alignment, strict=True)
    ]
    scored = [i for i, mean in enumerate(means) if not math.isnan(mean)]
    return max(scored, key=lambda i: means[i]) if scored else None


def _font():
    try:
        return ImageFont.load_default(_FONT_PX)
    except TypeError:  # Pillow below 10.1: one size, of a bitmap
        return ImageFont.load_default()


def _anchor(font, horizontal: str) -> str | None:
    """Text is placed by its middle where the font can do that."""
    return f"{horizontal}m" if isinstance(font, ImageFont.FreeTypeFont) else None
