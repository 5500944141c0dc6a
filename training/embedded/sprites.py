"""Sprites of the rendered scenes: emoji, one-hue emoji and plain shapes, as premultiplied RGBA.

Shapes: a sprite level is uint8 [n, n, 4], premultiplied by its alpha, n in `LEVELS_PX`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from eliq.errors import SupervisionError

from .nouns import COLOURS, EMOJI, SHAPES

DEFAULT_FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
LEVELS_PX = (144, 100, 68, 48, 32)
SHADOW_PX = 40  # a shadow map covers the sprite's square widened by a quarter on every side
_STRIKE_PX = 109  # the only bitmap size in the font


def require_font(path: str | Path = DEFAULT_FONT) -> Path:
    """The font's path; SupervisionError where there is no such file."""
    path = Path(path)
    if not path.is_file():
        raise SupervisionError(
            f"Rendering scenes needs the colour emoji font Noto Color Emoji, expected at {path}, "
            "where there is no file. Install it (Debian, Ubuntu: "
            "apt-get install fonts-noto-color-emoji) or give its path with --font."
        )
    return path


class Sprite:
    """One object's picture at several sizes, with a soft shadow map of its silhouette."""

    def __init__(self, picture: Image.Image) -> None:
        picture = _square(picture)
        premultiplied = picture.convert("RGBa")
        self.levels = tuple(
            premultiplied.resize((n, n), Image.Resampling.LANCZOS if n < 144 else 3)
            for n in LEVELS_PX
        )
        wide = Image.new("L", (60, 60))
        wide.paste(picture.getchannel("A").resize((40, 40), Image.Resampling.BOX), (10, 10))
        self.shadow = wide.filter(ImageFilter.GaussianBlur(3.0)).resize((SHADOW_PX, SHADOW_PX))

    def at(self, size_px: int, angle: float = 0.0, flip: bool = False) -> np.ndarray:
        """Premultiplied uint8 [m, m, 4]; m covers the square of `size_px` turned by `angle`."""
        level = self.levels[0]
        for candidate in self.levels:
            if candidate.size[0] < size_px:
                break
            level = candidate
        n = level.size[0]
        cos, sin = math.cos(angle), math.sin(angle)
        m = int(size_px * (abs(cos) + 0.6 * abs(sin))) + 2
        k = n / size_px
        a, b, d, e = k * cos, k * sin, -k * sin, k * cos
        if flip:
            a, b = -a, -b
        centre = m / 2
        matrix = (a, b, n / 2 - (a + b) * centre, d, e, n / 2 - (d + e) * centre)
        turned = level.transform(
            (m, m), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=None
        )
        return np.asarray(turned)


def _square(picture: Image.Image) -> Image.Image:
    """Crop to the visible box and centre in a square, so that sizes mean visible sizes."""
    box = picture.getchannel("A").point(lambda v: 255 if v > 24 else 0).getbbox()
    picture = picture.crop(box)
    side = max(picture.size) + 4
    out = Image.new("RGBA", (side, side))
    out.paste(picture, ((side - picture.size[0]) // 2, (side - picture.size[1]) // 2))
    return out.resize((LEVELS_PX[0],) * 2, Image.Resampling.BICUBIC)


def _emoji_picture(font: ImageFont.FreeTypeFont, emoji: str, noun: str) -> Image.Image:
    canvas = Image.new("RGBA", (180, 180))
    ImageDraw.Draw(canvas).text((20, 20), emoji, font=font, embedded_color=True)
    if canvas.getchannel("A").getbbox() is None:
        raise SupervisionError(
            f"The emoji font has no picture for {noun!r} (U+{ord(emoji):04X}). A newer Noto Color "
            "Emoji is needed: apt-get install fonts-noto-color-emoji, or give one with --font."
        )
    return canvas


def _shape_picture(shape: str, colour: str) -> Image.Image:
    side, centre, radius = 432, 216.0, 196.0
    canvas = Image.new("RGBA", (side, side))
    draw = ImageDraw.Draw(canvas)
    rgb = COLOURS[colour]
    # A darker (for black: lighter) rim keeps a white star visible in snow, so no combination of
    # colour and background ever has to be avoided, which prompts would give away.
    rim = (110, 110, 114) if colour == "black" else tuple(int(0.55 * v) for v in rgb)
    width = 13

    def turned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(centre + radius * x, centre + radius * y) for x, y in points]

    if shape in ("circle", "ring"):
        box = [centre - radius, centre - radius, centre + radius, centre + radius]
        draw.ellipse(box, fill=(*rgb, 255), outline=(*rim, 255), width=width)
        if shape == "ring":
            hole = [centre - 0.5 * radius, centre - 0.5 * radius]
            hole += [centre + 0.5 * radius, centre + 0.5 * radius]
            draw.ellipse(hole, fill=(0, 0, 0, 0), outline=(*rim, 255), width=width)
    else:
        if shape == "square":
            points = [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
        elif shape == "triangle":
            points = [(0, -0.92), (0.98, 0.8), (-0.98, 0.8)]
        elif shape == "diamond":
            points = [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)]
        elif shape == "cross":
            w = 0.32
            points = [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w)]
            points += [(w, 1), (-w, 1), (-w, w), (-1, w), (-1, -w), (-w, -w)]
        elif shape == "star":
            points = []
            for i in range(10):
                r, t = (1.0 if i % 2 == 0 else 0.42), math.pi * (i / 5 - 0.5)
                points.append((r * math.cos(t), r * math.sin(t)))
        else:  # heart
            points = []
            for t in np.linspace(0, 2 * math.pi, 80, endpoint=False):
                x = 16 * math.sin(t) ** 3
                y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
                points.append((x / 17, -y / 17))
        outline = turned(points)
        draw.polygon(outline, fill=(*rgb, 255))
        draw.line([*outline, outline[0], outline[1]], fill=(*rim, 255), width=width, joint="curve")
    return canvas.resize((144, 144), Image.Resampling.BOX)


def _tinted(picture: Image.Image, colour: str) -> Image.Image:
    """The picture in one hue: its luma becomes the shading of the named colour."""
    pixels = np.asarray(picture).astype(np.float32)
    alpha = pixels[..., 3]
    luma = pixels[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    inside = luma[alpha > 200]
    low, high = np.percentile(inside, (4, 96))
    shade = np.clip((luma - low) / max(high - low, 24.0), 0, 1)
    rgb = np.array(COLOURS[colour], np.float32)
    darkest, brightest = (1.0, 2.6) if colour == "black" else (0.42, 1.12)
    mix = (darkest + (brightest - darkest) * shade)[..., None]
    out = np.clip(mix * rgb, 0, 255)
    return Image.fromarray(np.dstack([out, alpha]).astype(np.uint8), "RGBA")


class SpriteBook:
    """All sprites of one font, drawn on first use and kept."""

    def __init__(self, font_path: str | Path = DEFAULT_FONT) -> None:
        self._font = ImageFont.truetype(str(require_font(font_path)), _STRIKE_PX)
        self._sprites: dict[tuple[str, str | None], Sprite] = {}

    def get(self, noun: str, colour: str | None = None) -> Sprite:
        """The sprite of a noun or shape; shapes need a colour."""
        key = (noun, colour)
        if key not in self._sprites:
            if noun in SHAPES:
                picture = _shape_picture(noun, colour or "red")
            else:
                picture = _emoji_picture(self._font, EMOJI[noun], noun)
                if colour is not None:
                    picture = _tinted(picture, colour)
            self._sprites[key] = Sprite(picture)
        return self._sprites[key]


@lru_cache(maxsize=2)
def sprite_book(font_path: str = DEFAULT_FONT) -> SpriteBook:
    """The one book of a font in this process."""
    return SpriteBook(font_path)
