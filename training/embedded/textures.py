"""Positives that are not scenes: textures and dead leaves, each with a simple true prompt.

Shapes: images uint8 [n, n, 3]. They widen what technical quality is judged on: gratings and tiles
for sharpness, 1/f fields for grain, dead leaves (Lee, Mumford and Huang 2001) for edges and
occlusion with the scaling of natural images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from .noise import field, ramp
from .nouns import COLOURS

_NAMES = tuple(COLOURS)


def _two_colours(rng: np.random.Generator) -> tuple[tuple[str, str], list[tuple[float, ...]]]:
    first = int(rng.random() * len(_NAMES))
    second = (first + 1 + int(rng.random() * (len(_NAMES) - 1))) % len(_NAMES)
    names = (_NAMES[first], _NAMES[second])
    jitter = rng.uniform(0.9, 1.08, (2, 1))
    return names, [tuple(c) for c in np.array([COLOURS[n] for n in names]) * jitter]


def _plane(rng: np.random.Generator, n: int) -> np.ndarray:
    """Coordinate along a random direction, 0..about 1 across the image, float32 [n, n]."""
    angle = rng.uniform(0, np.pi)
    axis = np.arange(n, dtype=np.float32) / n
    return np.cos(angle) * axis[None, :] + np.sin(angle) * axis[:, None]


def _edge(wave: np.ndarray, softness: float) -> np.ndarray:
    """A wave in -1..1 turned to a smooth step in 0..1."""
    return np.clip(0.5 + wave / (2 * softness), 0, 1)


def _stripes(rng, n):
    wave = np.sin(2 * np.pi * rng.uniform(4, 22) * _plane(rng, n) + rng.uniform(0, 6.3))
    return _edge(wave, rng.uniform(0.15, 1.0)), "{a} and {b} stripes"


def _waves(rng, n):
    bend = rng.uniform(0.5, 2.5) * field(rng, "smooth", n)
    wave = np.sin(2 * np.pi * (rng.uniform(5, 16) * _plane(rng, n) + bend))
    return _edge(wave, rng.uniform(0.2, 1.0)), "wavy {a} and {b} lines"


def _checks(rng, n):
    k = rng.uniform(4, 12)
    wave = np.sin(2 * np.pi * k * _plane(rng, n)) * np.sin(2 * np.pi * k * _plane(rng, n))
    return _edge(wave, rng.uniform(0.08, 0.6)), "{a} and {b} checks"


def _dots(rng, n):
    pitch = n / rng.uniform(5, 14)
    y = (np.arange(n, dtype=np.float32)[:, None] / pitch + rng.random()) % 1 - 0.5
    x = (np.arange(n, dtype=np.float32)[None, :] / pitch + rng.random()) % 1 - 0.5
    radius = rng.uniform(0.22, 0.36)
    return np.clip((radius - np.sqrt(x * x + y * y)) * pitch + 0.5, 0, 1), "{b} dots on {a}"


def _weave(rng, n):
    pitch = max(4.0, n / rng.uniform(14, 30))
    axis = np.arange(n, dtype=np.float32) / pitch
    over = ((axis[:, None].astype(int) + axis[None, :].astype(int)) & 1).astype(np.float32)
    thread = np.where(
        over > 0, np.abs(np.sin(np.pi * axis))[None, :], np.abs(np.sin(np.pi * axis))[:, None]
    )
    value = 0.15 + 0.5 * over + 0.3 * thread + 0.25 * (field(rng, "fine", n) - 0.5)
    return value, "woven {a} and {b} fabric"


def _tiles(rng, n):
    pitch = n / rng.uniform(4, 10)
    y = np.arange(n) / pitch + rng.random()
    x = np.arange(n) / pitch + rng.random()
    tone = rng.random((16, 16), dtype=np.float32)[y.astype(int) % 16][:, x.astype(int) % 16]
    value = 0.25 * tone + 0.15 * field(rng, "rough", n)
    seam = ((y % 1) * pitch < 1.5)[:, None] | ((x % 1) * pitch < 1.5)[None, :]
    return np.where(seam, np.float32(1), value), "{a} tiles with {b} joints"


def _clouds(rng, n):
    return 1.6 * (field(rng, "cloud", n) - 0.5) + 0.5, "soft {a} and {b} clouds"


def _marble(rng, n):
    vein = np.sin(2 * np.pi * (rng.uniform(2, 5) * _plane(rng, n) + 2.5 * field(rng, "cloud", n)))
    return np.abs(vein) ** rng.uniform(0.4, 0.9), "{b} marble with {a} veins"


def _grain(rng, n):
    return 1.3 * (field(rng, "rough", n) - 0.5) + 0.5, "{a} and {b} stone"


def _fur(rng, n):
    value = field(rng, "streaks", n) if rng.random() < 0.5 else field(rng, "streaks", n).T
    return 1.5 * (value - 0.5) + 0.5, "{a} and {b} fibres"


def _gradient(rng, n):
    value = _plane(rng, n)
    value = (value - value.min()) / np.ptp(value)
    return value + 0.04 * (field(rng, "fine", n) - 0.5), "a smooth {a} to {b} gradient"


_TEXTURES: tuple[Callable, ...] = (
    _stripes, _waves, _checks, _dots, _weave, _tiles, _clouds, _marble, _grain, _fur, _gradient,
)  # fmt: skip
_LEADS = ("a texture of {}", "{}", "a close-up of {}", "a pattern of {}")


def render_texture(rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, str]:
    """One two-colour texture, evenly or unevenly lit, and its prompt."""
    names, colours = _two_colours(rng)
    value, words = _TEXTURES[int(rng.random() * len(_TEXTURES))](rng, size_px)
    image = ramp(value, colours)
    if rng.random() < 0.5:
        light = 1 + 0.5 * (field(rng, "smooth", size_px) - 0.6)
        image = np.minimum(image * light[..., None], 255).astype(np.uint8)
    words = words.format(a=names[0], b=names[1])
    lead = _LEADS[int(rng.random() * len(_LEADS))]
    return image, lead.format(words)


def render_dead_leaves(rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, str]:
    """Overlapping pieces with radii from a 1/r^3 law, in two or three named colours."""
    num = 2 + int(rng.random() * 2)
    names = [_NAMES[i] for i in rng.permutation(len(_NAMES))[:num].tolist()]
    scale = 2  # drawn larger and averaged down: smooth edges
    side = size_px * scale
    canvas = Image.new("RGB", (side, side), tuple(int(v) for v in COLOURS[names[0]]))
    draw = ImageDraw.Draw(canvas)
    low, high = side * 0.02, side * rng.uniform(0.15, 0.3)
    count = 260
    u = rng.random(count)
    radii = 1 / np.sqrt(u / low**2 + (1 - u) / high**2)
    radii[: count // 8] = high * rng.uniform(0.6, 1.0, count // 8)  # nothing stays uncovered
    centres = rng.uniform(-0.05, 1.05, (count, 2)) * side
    which = rng.integers(0, num, count)
    tints = np.array([COLOURS[n] for n in names], np.float32)[which]
    tints = np.clip(tints * rng.uniform(0.75, 1.12, (count, 1)), 0, 255).astype(int).tolist()
    shape = ("discs", "squares", "pieces")[int(rng.random() * 3)]
    for (x, y), r, tint in zip(centres.tolist(), radii.tolist(), tints, strict=True):
        box = (x - r, y - r, x + r, y + r)
        if shape == "discs" or (shape == "pieces" and int(x) & 1):
            draw.ellipse(box, fill=tuple(tint))
        else:
            draw.rectangle(box, fill=tuple(tint))
    image = np.asarray(canvas.reduce(scale))
    if rng.random() < 0.6:
        light = 1 + rng.uniform(0.2, 0.8) * (field(rng, "rough", size_px) - 0.5)
        image = np.minimum(image * light[..., None], 255).astype(np.uint8)
    listed = ", ".join(names[:-1]) + " and " + names[-1]
    lead = ("overlapping {} {}", "many {} {} on top of one another", "a pile of {} {}")
    return image, lead[int(rng.random() * 3)].format(listed, shape)
