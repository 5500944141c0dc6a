"""Text on a picture: measured, wrapped, and drawn with whatever fonts cover its characters.

Pillow brings one small Latin font. Other characters are looked for in fonts that systems commonly
have; a character that no font covers loses its accent, or becomes a small box.
"""

from __future__ import annotations

import functools
import re
import unicodedata

from PIL import Image, ImageDraw, ImageFont

__all__ = ["Lettering"]

# Broad coverage first; Pillow finds them by name in the system's font directories.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "segoeui.ttf",
    "Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "msyh.ttc", "msgothic.ttc",
    "malgun.ttf", "wqy-zenhei.ttc", "wqy-microhei.ttc", "NotoSansArabic-Regular.ttf",
    "NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf",
    "seguisym.ttf", "NotoEmoji-Regular.ttf",
)  # fmt: skip
_NO_GLYPH = "\U0010fffe"  # a noncharacter: every font draws its box for missing glyphs
_INVISIBLE = frozenset(("Cf", "Mn", "Me"))

Font = ImageFont.FreeTypeFont


class Lettering:
    """One size of text on pictures.

    Args:
        size_px: the height of the letters' em square.
    """

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self.line_px = round(size_px * 1.35)

    def width(self, text: str) -> float:
        """Width of ``text`` in pixels."""
        return sum(self._advance(font, run) for font, run in self._runs(text))

    def draw(
        self, picture: Image.Image, xy: tuple[float, float], text: str, fill: tuple[int, int, int]
    ) -> None:
        """Draw ``text`` with the left end of its baseline at ``xy``."""
        canvas = ImageDraw.Draw(picture)
        x, y = xy
        for font, run in self._runs(text):
            canvas.text((x, y), run, font=font, fill=fill, anchor="ls")
            x += self._advance(font, run)

    def fit(self, text: str, width_px: float) -> str:
        """``text``, cut with an ellipsis if it is wider than ``width_px``."""
        if self.width(text) <= width_px:
            return text
        low, high = 0, len(text)
        while low < high:  # the longest beginning that fits
            middle = (low + high + 1) // 2
            if self.width(text[:middle].rstrip() + "…") <= width_px:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + "…"

    def wrap(self, text: str, width_px: float, max_lines: int) -> list[str]:
        """``text`` in at most ``max_lines`` lines, broken at spaces where there are any."""
        lines: list[str] = []
        words = text[:2000].split()
        while words and len(lines) < max_lines - 1:
            line = words[0]
            if self.width(line) > width_px:  # a word longer than the line, or no spaces at all
                num_chars = max(1, len(self.fit(line, width_px)) - 1)
                lines.append(line[:num_chars])
                words[0] = line[num_chars:]
                continue
            num_words = 1
            while num_words < len(words):
                longer = f"{line} {words[num_words]}"
                if self.width(longer) > width_px:
                    break
                line = longer
                num_words += 1
            lines.append(line)
            del words[:num_words]
        if words:
            lines.append(self.fit(" ".join(words), width_px))
        return lines

    def _advance(self, font: Font, run: str) -> float:
        # The bundled font's space nearly vanishes when it is hinted at small sizes.
        return max(font.getlength(run), 0.3 * self.size_px if run == " " else 0.0)

    def _runs(self, text: str) -> list[tuple[Font, str]]:
        """``text`` in runs, each with a font that covers it: one font for all if one does.

        Every space is a run of its own, save in a script from right to left, which stays whole
        so that its words are ordered.
        """
        whole = _font_for_all(frozenset(text), self.size_px)
        if whole is not None:
            if any(unicodedata.bidirectional(char) in ("R", "AL") for char in text):
                return [(whole, text)]
            return [(whole, run) for run in re.findall(r" |[^ ]+", text)]
        runs: list[tuple[Font, str]] = []
        for char in text:
            drawn, font = _glyph(char, self.size_px)
            if runs and runs[-1][0] is font and " " not in (char, runs[-1][1]):
                runs[-1] = (font, runs[-1][1] + drawn)
            else:
                runs.append((font, drawn))
        return runs


@functools.lru_cache(maxsize=1024)
def _font_for_all(chars: frozenset[str], size_px: int) -> Font | None:
    default = _bundled_font(size_px)
    if all(_covers(default, char) for char in chars):
        return default
    fonts = (_named_font(name, size_px) for name in _SYSTEM_FONTS)
    covering = (font for font in fonts if font and all(_covers(font, char) for char in chars))
    return next(covering, None)


@functools.lru_cache(maxsize=4096)
def _glyph(char: str, size_px: int) -> tuple[str, Font]:
    """What to draw for ``char``, and the font: a font that has it, its base letter, or a box."""
    default = _bundled_font(size_px)
    if unicodedata.category(char) in _INVISIBLE:
        return "", default
    base = unicodedata.normalize("NFKD", char)[:1]
    for candidate in dict.fromkeys((char, base)):
        if _covers(default, candidate):
            if candidate == char or not (font := _system_font(char, size_px)):
                return candidate, default
            return char, font
        if font := _system_font(candidate, size_px):
            return candidate, font
    return _NO_GLYPH, default


def _system_font(char: str, size_px: int) -> Font | None:
    for name in _SYSTEM_FONTS:
        font = _named_font(name, size_px)
        if font is not None and _covers(font, char):
            return font
    return None


@functools.lru_cache(maxsize=16)
def _bundled_font(size_px: int) -> Font:
    return ImageFont.load_default(size_px)


@functools.lru_cache(maxsize=256)
def _named_font(name: str, size_px: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size_px)
    except OSError:
        return None


@functools.lru_cache(maxsize=8192)
def _covers(font: Font, char: str) -> bool:
    if char.isspace():
        return True
    return bytes(font.getmask(char)) != _missing_glyph(font)


@functools.lru_cache(maxsize=256)
def _missing_glyph(font: Font) -> bytes:
    return bytes(font.getmask(_NO_GLYPH))
