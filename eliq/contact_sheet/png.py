"""The contact sheet as one picture, drawn with Pillow alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from PIL import Image, ImageDraw

from ..shown_text import one_line
from .entry import SheetEntry, load_thumbnail
from .text import Lettering

__all__ = ["draw_sheet"]

Colour = tuple[int, int, int]

_PAGE: Colour = (241, 243, 246)
_CARD: Colour = (255, 255, 255)
_EDGE: Colour = (216, 221, 228)
_MATTE: Colour = (226, 230, 235)
_INK: Colour = (28, 33, 40)
_DIM: Colour = (104, 113, 125)
_TRACK: Colour = (228, 232, 237)
_BAD: Colour = (190, 49, 60)
_PILL: Colour = (250, 240, 214)
_PILL_INK: Colour = (122, 84, 8)
_BARS: dict[str, Colour] = {"quality": (37, 99, 195), "alignment": (15, 138, 112)}

_MARGIN_PX = 28
_GAP_PX = 16
_THUMB_PX = (252, 196)
_PAD_PX = 12
_CARD_PX = (_THUMB_PX[0], 358)
_PROMPT_LINES = 3
_SMOOTH = 4  # rounded corners are drawn this many times larger, then shrunk


def draw_sheet(numbered: Sequence[tuple[int, SheetEntry]], *, title: str, note: str) -> Image.Image:
    """RGB picture of the entries with their ranks, row by row, in the order given."""
    num_columns = _num_columns(len(numbered))
    num_rows = -(-len(numbered) // num_columns)
    top = _MARGIN_PX + 76
    width = 2 * _MARGIN_PX + num_columns * (_CARD_PX[0] + _GAP_PX) - _GAP_PX
    height = top + num_rows * (_CARD_PX[1] + _GAP_PX) - _GAP_PX + _MARGIN_PX
    sheet = Image.new("RGB", (width, max(height, top + _MARGIN_PX)), _PAGE)
    room = width - 2 * _MARGIN_PX
    large, small = Lettering(28), Lettering(15)
    large.draw(sheet, (_MARGIN_PX, _MARGIN_PX + 26), large.fit(one_line(title), room), _INK)
    small.draw(sheet, (_MARGIN_PX, _MARGIN_PX + 52), small.fit(one_line(note), room), _DIM)
    for index, (number, entry) in enumerate(numbered):
        row, column = divmod(index, num_columns)
        x = _MARGIN_PX + column * (_CARD_PX[0] + _GAP_PX)
        y = top + row * (_CARD_PX[1] + _GAP_PX)
        sheet.paste(_draw_card(number, entry), (x, y))
    return sheet


def _num_columns(num_cells: int) -> int:
    """Columns of a sheet that is about as wide as a screen, and never has an empty column."""
    for limit, columns in ((3, 3), (8, 4), (15, 5), (60, 6), (120, 8)):
        if num_cells <= limit:
            return max(2, min(columns, num_cells))
    return 10


def _draw_card(number: int, entry: SheetEntry) -> Image.Image:
    width, height = _CARD_PX
    card = Image.new("RGB", _CARD_PX, _PAGE)
    card.paste(_EDGE, (0, 0), _rounded(_CARD_PX, 10))
    card.paste(_CARD, (1, 1), _rounded((width - 2, height - 2), 9))
    body = Image.new("RGB", _CARD_PX, _CARD)
    _draw_thumbnail(body, entry)
    _draw_rank(body, number)
    y = _THUMB_PX[1] + 22
    for label, score in (("quality", entry.visual_quality), ("alignment", entry.alignment)):
        _draw_bar(body, y, label, score)
        y += 20
    room = width - 2 * _PAD_PX
    y += 6
    prompt, name = Lettering(14), Lettering(12)
    if entry.error is not None:
        lines, colour = prompt.wrap(one_line(entry.error), room, _PROMPT_LINES), _BAD
    else:
        lines = prompt.wrap(one_line(entry.prompt or ""), room, _PROMPT_LINES)
        colour = _INK if lines else _DIM
        lines = lines or ["no prompt"]
    for line in lines:
        prompt.draw(body, (_PAD_PX, y), line, colour)
        y += prompt.line_px
    _draw_pills(body, entry.flags, height - 38)
    name.draw(body, (_PAD_PX, height - 13), name.fit(entry.name, room), _DIM)
    card.paste(body, (0, 0), _inner_mask(_CARD_PX, 9))
    return card


def _draw_thumbnail(body: Image.Image, entry: SheetEntry) -> None:
    width, height = _THUMB_PX
    body.paste(_MATTE, (0, 0, width, height))
    thumbnail = load_thumbnail(entry, width, height)
    if thumbnail is None:
        text = Lettering(14)
        words = "not scored" if entry.error is not None else "no picture"
        text.draw(body, ((width - text.width(words)) / 2, height / 2 + 5), words, _DIM)
        return
    body.paste(thumbnail, ((width - thumbnail.width) // 2, (height - thumbnail.height) // 2))


def _draw_rank(body: Image.Image, number: int) -> None:
    text = Lettering(14)
    words = str(number)
    width = max(26, round(text.width(words)) + 14)
    body.paste(_INK, (8, 8), _rounded((width, 22), 11).point(lambda value: value * 210 // 255))
    text.draw(body, (8 + (width - text.width(words)) / 2, 24), words, (255, 255, 255))


def _draw_bar(body: Image.Image, y: int, label: str, score: float | None) -> None:
    """A label, a bar and a number, on the baseline ``y``."""
    text = Lettering(13)
    text.draw(body, (_PAD_PX, y), label, _DIM)
    left, right = _PAD_PX + 70, _CARD_PX[0] - _PAD_PX - 40
    body.paste(_TRACK, (left, y - 9), _rounded((right - left, 8), 4))
    if score is not None:
        filled = max(8, round((right - left) * min(1.0, max(0.0, score))))
        body.paste(_BARS[label], (left, y - 9), _rounded((filled, 8), 4))
    words = "–" if score is None else f"{score:.2f}"
    number_x = _CARD_PX[0] - _PAD_PX - text.width(words)
    text.draw(body, (number_x, y), words, _DIM if score is None else _INK)


def _draw_pills(body: Image.Image, flags: Sequence[str], y: int) -> None:
    """Flags side by side; those that have no room are counted."""
    text = Lettering(11)
    x = _PAD_PX
    room = _CARD_PX[0] - _PAD_PX
    for index, flag in enumerate(flags):
        words = one_line(flag).replace("_", " ")
        width = round(text.width(words)) + 14
        rest = f"+{len(flags) - index}"
        spare = 0 if index == len(flags) - 1 else text.width("+99") + 8
        if x + width + spare > room:
            text.draw(body, (x, y + 7), rest, _PILL_INK)
            return
        body.paste(_PILL, (x, y - 7), _rounded((width, 18), 9))
        text.draw(body, (x + 7, y + 6), words, _PILL_INK)
        x += width + 6


@functools.lru_cache(maxsize=512)
def _rounded(size: tuple[int, int], radius_px: int) -> Image.Image:
    """Mask of a rectangle with smooth round corners, 8 bit."""
    large = Image.new("L", (size[0] * _SMOOTH, size[1] * _SMOOTH), 0)
    corner = (large.width - 1, large.height - 1)
    ImageDraw.Draw(large).rounded_rectangle((0, 0, *corner), radius_px * _SMOOTH, fill=255)
    return large.resize(size, Image.Resampling.BOX)


@functools.lru_cache(maxsize=8)
def _inner_mask(size: tuple[int, int], radius_px: int) -> Image.Image:
    """Mask of everything within the card's one-pixel edge."""
    mask = Image.new("L", size, 0)
    mask.paste(_rounded((size[0] - 2, size[1] - 2), radius_px), (1, 1))
    return mask
