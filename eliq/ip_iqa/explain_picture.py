"""Pictures of what the words of a prompt point at: one word beside its image, or all as a strip.

Drawn with Pillow alone; any script of which the system has a font.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from ..contact_sheet.text import Lettering
from ..shown_text import one_line
from .heat import HeatScale, colour_bar, heat_over, heat_scale

__all__ = ["WHOLE_PROMPT", "WordMap", "draw_strip", "draw_word"]

WHOLE_PROMPT = "the whole prompt"

Colour = tuple[int, int, int]

_PAGE: Colour = (255, 255, 255)
_INK: Colour = (28, 33, 40)
_DIM: Colour = (104, 113, 125)
_ACCENT: Colour = (190, 60, 20)
_PANEL_PX = 448
_SMALL_PANEL_PX = 208
_MARGIN_PX = 24
_GAP_PX = 16
_BAR_PX = (260, 12)
_MOST_COLUMNS = 6
_PROMPT_LINES = 4
_FLAT = 1.15  # the hottest cell in multiples of the even share, below which a map says nothing


@dataclass(frozen=True, eq=False)
class WordMap:
    """Where the pooling looks when a word is its query.

    Attributes:
        word: as it stands in the prompt, or `WHOLE_PROMPT`.
        start, end: its place in the prompt, in characters.
        cells: float32 [h,w]: attention in multiples of the even share, with mean 1; 1 everywhere =
            no preference. The mean over heads.
        global_share: 0..1, what goes to the token that stands for the whole image; the cells
            share the rest.
    """

    word: str
    start: int
    end: int
    cells: Tensor
    global_share: float

    @property
    def peak(self) -> tuple[int, int]:
        """Row and column of the hottest cell."""
        return divmod(int(self.cells.argmax()), self.cells.shape[1])

    @property
    def peak_ratio(self) -> float:
        """The hottest cell in multiples of the even share."""
        return float(self.cells.max())

    @property
    def is_flat(self) -> bool:
        """Whether the word prefers no place."""
        return self.peak_ratio < _FLAT


def draw_word(image: Image.Image, word_map: WordMap, *, prompt: str, note: str = "") -> Image.Image:
    """The image, and beside it the heat of one word; the prompt with the word marked; a legend.

    Args:
        image: RGB.
        prompt: the whole, cleaned.
        note: a line in small letters, such as the names of image and checkpoint.
    """
    panel = _fitted(image, _PANEL_PX)
    scale = heat_scale([word_map.cells])
    width = 2 * panel.width + _GAP_PX
    title, text, small = Lettering(24), Lettering(16), Lettering(13)
    lines = _prompt_lines(prompt, text, width, word_map)
    y = _MARGIN_PX + 24
    height = y + 16 + len(lines) * text.line_px + panel.height + 96
    picture = Image.new("RGB", (width + 2 * _MARGIN_PX, height), _PAGE)
    name = word_map.word if word_map.word == WHOLE_PROMPT else f"“{one_line(word_map.word)}”"
    title.draw(picture, (_MARGIN_PX, y), title.fit(f"attention for {name}", width), _INK)
    y = _draw_lines(picture, lines, text, y + 16)
    picture.paste(panel, (_MARGIN_PX, y))
    x = _MARGIN_PX + panel.width + _GAP_PX
    picture.paste(heat_over(panel, word_map.cells, scale), (x, y))
    y += panel.height + 14
    _draw_legend(picture, (x, y), scale, min(_BAR_PX[0], panel.width), small)
    small.draw(picture, (_MARGIN_PX, y + 12), small.fit(_said(word_map), panel.width), _DIM)
    small.draw(picture, (_MARGIN_PX, y + 60), small.fit(one_line(note), width), _DIM)
    return picture


def draw_strip(
    image: Image.Image, word_maps: Sequence[WordMap], *, prompt: str, note: str = ""
) -> Image.Image:
    """The image and the heat of every word, side by side on one scale of colours."""
    panel = _fitted(image, _SMALL_PANEL_PX)
    text, label, small = Lettering(16), Lettering(14), Lettering(12)
    scale = heat_scale([word_map.cells for word_map in word_maps])
    columns = min(_MOST_COLUMNS, len(word_maps) + 1)
    rows = -(-(len(word_maps) + 1) // columns)
    width = max(columns * (panel.width + _GAP_PX) - _GAP_PX, _BAR_PX[0] + 60)
    cell_px = panel.height + 44
    lines = text.wrap(one_line(prompt), width, _PROMPT_LINES)
    y = _MARGIN_PX
    height = y + len(lines) * text.line_px + 12 + rows * cell_px + 94
    picture = Image.new("RGB", (width + 2 * _MARGIN_PX, height), _PAGE)
    y = _draw_lines(picture, [[(line, _INK)] for line in lines], text, y)
    for index in range(len(word_maps) + 1):
        row, column = divmod(index, columns)
        left, above = _MARGIN_PX + column * (panel.width + _GAP_PX), y + row * cell_px
        if index == 0:
            shown, words, said = panel, "image", ""
        else:
            word_map = word_maps[index - 1]
            shown = heat_over(panel, word_map.cells, scale)
            words, said = one_line(word_map.word), _said_shortly(word_map)
        picture.paste(shown, (left, above))
        colour = _INK if index else _DIM
        label.draw(
            picture, (left, above + panel.height + 16), label.fit(words, panel.width), colour
        )
        small.draw(picture, (left, above + panel.height + 32), small.fit(said, panel.width), _DIM)
    y += rows * cell_px + 6
    _draw_legend(picture, (_MARGIN_PX, y), scale, _BAR_PX[0], small)
    small.draw(picture, (_MARGIN_PX, y + 66), small.fit(one_line(note), width), _DIM)
    return picture


def _fitted(image: Image.Image, longer_px: int) -> Image.Image:
    """The image with its longer side at ``longer_px``: small ones are enlarged."""
    scale = longer_px / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _said(word_map: WordMap) -> str:
    row, column = word_map.peak
    height, width = word_map.cells.shape
    where = f"hottest: row {row + 1} of {height}, column {column + 1} of {width}"
    where = "prefers no place" if word_map.is_flat else where
    return f"{where}; {word_map.global_share:.0%} goes to the whole-image token"


def _said_shortly(word_map: WordMap) -> str:
    return "prefers no place" if word_map.is_flat else f"up to {word_map.peak_ratio:.1f} x even"


def _draw_legend(
    picture: Image.Image, xy: tuple[int, int], scale: HeatScale, width_px: int, small: Lettering
) -> None:
    x, y = xy
    picture.paste(colour_bar(width_px, _BAR_PX[1]), (x, y))
    below = y + _BAR_PX[1] + 14
    least, even = f"{scale.low:.3g} x" if scale.low else "0", "1 = even"
    most = f"{scale.top:.3g} x"
    share = (1 - scale.low) / (scale.top - scale.low)
    even_x = x + width_px * share - small.width(even) / 2
    if even_x > x + small.width(least) + 6:  # a high top pushes it to the left end
        small.draw(picture, (x, below), least, _DIM)
    small.draw(picture, (max(even_x, x), below), even, _DIM)
    small.draw(picture, (x + width_px - small.width(most), below), most, _DIM)
    words = "attention of a cell, 1 = what each gets when it is spread evenly"
    room = picture.width - _MARGIN_PX - x
    small.draw(picture, (x, y + _BAR_PX[1] + 30), small.fit(words, room), _DIM)


def _prompt_lines(
    prompt: str, text: Lettering, width_px: float, word_map: WordMap
) -> list[list[tuple[str, Colour]]]:
    """The prompt in lines of coloured pieces, the word marked; cut lines lose their marking."""
    marked = one_line(word_map.word)
    before = one_line(prompt[: word_map.start])
    lines: list[list[tuple[str, Colour]]] = []
    position = 0
    place = len(before) + (
        1 if before and prompt[word_map.start - 1 : word_map.start].isspace() else 0
    )
    for line in text.wrap(one_line(prompt), width_px, _PROMPT_LINES):
        first, last = place - position, place - position + len(marked)
        first, last = max(0, min(first, len(line))), max(0, min(last, len(line)))
        pieces = [(line[:first], _INK), (line[first:last], _ACCENT), (line[last:], _INK)]
        lines.append([piece for piece in pieces if piece[0]])
        position += len(line) + 1
    return lines


def _draw_lines(
    picture: Image.Image, lines: list[list[tuple[str, Colour]]], text: Lettering, y: int
) -> int:
    """Draw lines from ``y`` down; gives the y below them."""
    for line in lines:
        y += text.line_px
        x: float = _MARGIN_PX
        for words, colour in line:
            text.draw(picture, (x, y - 5), words, colour)
            x += text.width(words)
    return y + 12
