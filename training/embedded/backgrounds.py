"""Procedural backgrounds of the scenes, each with a name and the words that place things on it.

Every painter is `(rng, n) -> uint8 [n, n, 3]`. The order matters: the first nine differ most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .noise import field, ramp

Painter = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Background:
    """A kind of background: "grass", said as "on the grass"."""

    name: str
    place: str
    paint: Painter


def _shade(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    return np.minimum(image * gain[..., None], 255).astype(np.uint8)


def _rows(n: int) -> np.ndarray:
    return np.linspace(0, 1, n, dtype=np.float32)[:, None]


def _columns(n: int) -> np.ndarray:
    return np.linspace(0, 1, n, dtype=np.float32)[None, :]


def _stack(top: np.ndarray, bottom: np.ndarray, line: np.ndarray) -> np.ndarray:
    """`top` above the horizon `line` (row of each column), `bottom` below it."""
    below = np.arange(top.shape[0])[:, None] >= line[None, :]
    return np.where(below[..., None], bottom, top)


def _skyline(rng: np.random.Generator, n: int, base: float, rough: float) -> np.ndarray:
    return n * (base + rough * (field(rng, "smooth", 1, n)[0] - 0.5))


def _sky(rng: np.random.Generator, n: int, amount: float) -> np.ndarray:
    value = amount * field(rng, "cloud", n) + (1 - amount) * _rows(n)
    return ramp(value, [(84, 150, 226), (138, 190, 240), (196, 222, 248)])


def _snow(rng, n):
    value = 0.75 * field(rng, "smooth", n) + 0.25 * field(rng, "fine", n)
    image = ramp(value, [(190, 206, 232), (226, 234, 246), (250, 252, 255), (255, 255, 255)])
    flakes = field(rng, "white", n) > 0.93
    return np.where(flakes[..., None], np.uint8(255), image)


def _desert(rng, n):
    bend = field(rng, "smooth", n)
    dunes = np.sin((_rows(n) * rng.uniform(9, 16) + 7 * bend) * np.pi) * 0.22
    value = 0.5 + dunes + 0.4 * (field(rng, "fine", n) - 0.5)
    return ramp(value, [(176, 122, 62), (218, 168, 96), (240, 204, 138), (250, 224, 166)])


def _grass(rng, n):
    blades = field(rng, "streaks", n).T
    value = 0.6 * blades + 0.4 * field(rng, "rough", n)
    return ramp(value, [(24, 74, 22), (52, 120, 34), (88, 160, 48), (150, 200, 84)])


def _night(rng, n):
    value = 0.5 * field(rng, "cloud", n) + 0.4 * _rows(n)
    image = ramp(value, [(5, 7, 24), (12, 18, 52), (30, 36, 88)])
    stars = rng.integers(0, n, (max(24, n // 3), 2))
    bright = rng.integers(150, 256, (len(stars), 1))
    image[stars[:, 0], stars[:, 1]] = bright
    big = stars[: len(stars) // 3]
    image[np.minimum(big[:, 0] + 1, n - 1), big[:, 1]] = bright[: len(big)]
    image[big[:, 0], np.minimum(big[:, 1] + 1, n - 1)] = bright[: len(big)]
    return image


def _sea(rng, n):
    value = 0.75 * field(rng, "waves", n) + 0.25 * _rows(n)
    return ramp(value, [(8, 56, 110), (18, 98, 158), (44, 142, 190), (170, 220, 232)])


def _courses(rng, n, rows, aspect, gap, shift):
    """Cell indices and a mortar mask of a wall of `rows` courses."""
    height = n / rows
    y = (np.arange(n) + rng.uniform(0, height)) / height
    row = y.astype(int)
    x = (np.arange(n)[None, :] / (height * aspect)) + (row[:, None] % 2) * shift + rng.random()
    column = x.astype(int)
    seam = ((y % 1) * height < gap)[:, None] | ((x % 1) * height * aspect < gap)
    return (row[:, None] * 31 + column * 17) % 64, seam


def _bricks(rng, n):
    cell, seam = _courses(rng, n, rng.uniform(7, 12), 2.3, max(1.0, n / 90), 0.5)
    value = 0.55 * rng.random(64, dtype=np.float32)[cell] + 0.45 * field(rng, "rough", n)
    image = ramp(value, [(120, 44, 34), (160, 62, 46), (188, 92, 70)])
    image[seam] = (196, 188, 178)
    return image


def _wood(rng, n):
    grain = 0.5 + 0.5 * np.sin(40 * field(rng, "streaks", n) + 8 * field(rng, "waves", n))
    value = 0.45 * grain + 0.55 * field(rng, "streaks", n)
    plank = n / rng.uniform(3, 6)
    y = np.arange(n) + rng.uniform(0, plank)
    value = value + (rng.random(16, dtype=np.float32)[(y / plank).astype(int)] - 0.5)[:, None] * 0.4
    image = ramp(value, [(96, 56, 26), (140, 88, 46), (176, 120, 68), (200, 148, 92)])
    image[(y % plank) < max(1.0, n / 110)] = (62, 36, 18)
    return image


def _checkers(rng, n):
    cells = rng.uniform(5, 9)
    y = (np.arange(n) * cells / n + rng.random()).astype(int)
    x = (np.arange(n) * cells / n + rng.random()).astype(int)
    dark = ((y[:, None] + x[None, :]) & 1).astype(np.float32)
    value = 0.08 + 0.8 * dark + 0.12 * field(rng, "rough", n)
    return ramp(value, [(40, 40, 44), (70, 70, 74), (190, 190, 188), (236, 234, 228)])


def _sunset(rng, n):
    value = _rows(n) * 0.95 + 0.35 * (field(rng, "waves", n) - 0.5)
    colours = [(58, 34, 92), (150, 54, 110), (232, 96, 70), (252, 164, 70), (254, 214, 120)]
    return ramp(value, colours)


def _forest(rng, n):
    image = ramp(
        0.6 * field(rng, "cloud", n) + 0.4 * _rows(n), [(14, 40, 24), (30, 74, 40), (70, 112, 58)]
    )
    trunk = np.zeros(n, bool)
    for centre, width in rng.random((int(rng.uniform(6, 10)), 2)).tolist():
        x = int(centre * n)
        trunk[x : x + max(2, int(n * (0.015 + 0.05 * width)))] = True
    bark = ramp(field(rng, "streaks", n).T, [(30, 22, 16), (104, 74, 48)])
    return np.where(trunk[None, :, None], bark, image)


def _city(rng, n):
    image = _sky(rng, n, 0.3)
    x = 0
    window = max(2, n // 42)
    while x < n:
        width = int(n * rng.uniform(0.1, 0.2))
        top = int(n * rng.uniform(0.12, 0.6))
        tone = rng.uniform(60, 130)
        block = image[top:, x : x + width]
        block[:] = np.array([tone, tone, tone * 1.08], np.uint8)
        lit = block[window :: 2 * window, window // 2 :: 2 * window]
        glow = rng.random(lit.shape[:2]) < 0.6
        for k in range(max(1, window - 1)):
            rows = block[window + k :: 2 * window, window // 2 :: 2 * window]
            mask = glow[: rows.shape[0], : rows.shape[1]]
            rows[mask] = (244, 222, 140)
            rows[~mask] = tone * 0.6
        x += width
    return image


def _plain(rgb: tuple[int, int, int]) -> Painter:
    def paint(rng, n):
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * (_columns(n) - 0.5) + np.sin(angle) * (_rows(n) - 0.5)
        value = 0.5 + rng.uniform(0, 0.45) * slope + 0.08 * (field(rng, "fine", n) - 0.5)
        colour = np.array(rgb, np.float32) * rng.uniform(0.92, 1.06)
        return ramp(value, [tuple(colour * 0.8), tuple(colour * 1.2)])

    return paint


def _mountains(rng, n):
    image = _sky(rng, n, 0.4)
    for base, rough, low, high in ((0.42, 1.1, 0.35, 1.0), (0.7, 0.8, 0.0, 0.6)):
        value = low + (high - low) * field(rng, "rough", n)
        rock = ramp(value, [(66, 64, 74), (108, 104, 112), (150, 148, 160), (228, 232, 240)])
        image = _stack(image, rock, _skyline(rng, n, base, rough))
    return image


def _clouds(rng, n):
    value = 1.7 * (field(rng, "cloud", n) - 0.5) + 0.5
    return ramp(value, [(70, 138, 220), (110, 170, 234), (220, 232, 246), (252, 253, 255)])


def _dots(rng, n):
    pitch = n / rng.uniform(7, 11)
    y = (np.arange(n)[:, None] / pitch + rng.random()) % 1 - 0.5
    x = (np.arange(n)[None, :] / pitch + rng.random()) % 1 - 0.5
    edge = np.clip((0.3 - np.sqrt(x * x + y * y)) * pitch + 0.5, 0, 1)
    return ramp(edge, [(250, 238, 226), (222, 92, 110)])


def _stripes(rng, n):
    period = n / rng.uniform(7, 12)
    x = (np.arange(n) + rng.uniform(0, period)) / period % 1
    edge = np.clip((0.25 - np.abs(x - 0.5)) * period + 0.5, 0, 1)[None, :]
    return ramp(np.broadcast_to(edge, (n, n)), [(244, 240, 228), (94, 142, 150)])


def _stones(rng, n):
    cell, seam = _courses(rng, n, rng.uniform(4, 6), 1.5, max(1.5, n / 60), 0.4)
    value = 0.4 * rng.random(64, dtype=np.float32)[cell] + 0.6 * field(rng, "cloud", n)
    image = ramp(value, [(84, 86, 88), (130, 130, 128), (176, 174, 168)])
    image[seam] = (56, 56, 56)
    return image


def _lava(rng, n):
    cracks = np.abs(field(rng, "cloud", n) - 0.5) * 5 + 0.25 * (field(rng, "fine", n) - 0.5)
    colours = [(255, 226, 96), (252, 134, 22), (184, 40, 10), (70, 18, 12), (34, 14, 14)]
    return ramp(cracks, colours)


def _paper(rng, n):
    image = ramp(field(rng, "fine", n), [(246, 244, 232), (255, 254, 246)])
    pitch = n / rng.uniform(9, 14)
    y = np.arange(n) + rng.uniform(0, pitch)
    image[(y % pitch) < max(1.0, n / 110)] = (122, 160, 214)
    margin = int(n * rng.uniform(0.08, 0.16))
    image[:, margin : margin + max(1, n // 100)] = (226, 96, 96)
    return image


def _underwater(rng, n):
    rays = field(rng, "streaks", n).T
    value = 0.75 * (1 - _rows(n)) + 0.5 * (rays - 0.5) + 0.15 * field(rng, "smooth", n)
    image = ramp(value, [(2, 34, 54), (6, 88, 112), (30, 150, 164), (130, 214, 208)])
    bubbles = rng.integers(1, n - 2, (10, 2))
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        image[bubbles[:, 0] + dy, bubbles[:, 1] + dx] = (196, 238, 236)
    return image


BACKGROUNDS: dict[str, Background] = {
    b.name: b
    for b in (
        Background("snow", "in the snow", _snow),
        Background("grass", "on the grass", _grass),
        Background("night sky", "in the night sky", _night),
        Background("desert", "in the desert", _desert),
        Background("brick wall", "in front of a brick wall", _bricks),
        Background("sea", "on the sea", _sea),
        Background("checkered floor", "on a checkered floor", _checkers),
        Background("sunset", "at sunset", _sunset),
        Background("wooden table", "on a wooden table", _wood),
        Background("plain pink", "on plain pink", _plain((240, 168, 200))),
        Background("forest", "in the forest", _forest),
        Background("cloudy sky", "in a cloudy sky", _clouds),
        Background("polka dots", "on polka dots", _dots),
        Background("city skyline", "in front of a city skyline", _city),
        Background("plain yellow", "on plain yellow", _plain((236, 206, 84))),
        Background("lava", "on lava", _lava),
        Background("stone wall", "in front of a stone wall", _stones),
        Background("plain gray", "on plain gray", _plain((150, 150, 152))),
        Background("lined paper", "on lined paper", _paper),
        Background("mountains", "in the mountains", _mountains),
        Background("striped wallpaper", "in front of striped wallpaper", _stripes),
        Background("underwater", "under water", _underwater),
        Background("plain blue", "on plain blue", _plain((86, 132, 214))),
        Background("plain green", "on plain green", _plain((110, 182, 110))),
    )
}


def paint_background(name: str, rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Paint one background: uint8 [size, size, 3], with a small change of its light."""
    image = BACKGROUNDS[name].paint(rng, size_px)
    if rng.random() < 0.5:
        light = 1 + 0.3 * (field(rng, "smooth", size_px) - 0.6)
        return _shade(image, light)
    return image
