"""Conventional technical distortions that lie over a picture: specks and interference.

Same contract as `technical.py`: (image uint8 [H,W,3], severity in 1..5, rng) -> (image of the same
size, parameters), the same random numbers drawn at every severity, strengths in absolute pixels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .pixels import add, level

__all__ = ["interference", "specks"]

#: Specks and scratches a megapixel.
SPECKS_PER_MPX = (90, 220, 520, 1200, 2800)
#: Amplitude of the wave, in 8-bit levels.
INTERFERENCE_AMPLITUDE = (3.5, 6, 10, 17, 28)
_MOST_SPECKS = 8192


def specks(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Dust: 90-2,800 dark or light specks of 0.5-3 px a megapixel, one in eight a curved scratch.

    Drawn at twice the size and reduced, so that their edges are as soft as those of real dust.
    """
    height, width = image.shape[:2]
    per_mpx = level(severity, SPECKS_PER_MPX)
    count = min(_MOST_SPECKS, max(2, round(per_mpx * height * width / 1e6)))
    light = bool(rng.random() < 0.5)
    # Row k is the same speck at every severity; the more severe ones only add to them.
    draws = np.random.default_rng(int(rng.integers(2**63))).random((count, 7))
    layer = Image.new("L", (2 * width, 2 * height), 0)
    pen = ImageDraw.Draw(layer)
    for y, x, size, kind, angle, bend, opacity in draws.tolist():
        y, x, size = y * 2 * height, x * 2 * width, 1.0 + 5.0 * size**2
        shade = int(110 + 145 * opacity)
        if kind < 0.125:
            along = np.linspace(0, 10 * size, 6)
            turn = 2 * np.pi * angle + (bend - 0.5) * np.linspace(0, 2, 6)
            path = np.stack([x + along * np.cos(turn), y + along * np.sin(turn)], axis=1)
            pen.line([tuple(p) for p in path.tolist()], fill=shade, width=1 + int(size > 2.5))
        else:
            stretch = 0.5 + bend
            pen.ellipse((x - size, y - size * stretch, x + size, y + size * stretch), fill=shade)
    alpha = np.asarray(layer.reduce(2)).astype(np.float32)[..., None] / 255
    target = 235.0 if light else 20.0
    return add(image, alpha * (target - image.astype(np.float32))), {
        "num_specks": count,
        "light": light,
    }


def interference(image: np.ndarray, severity: float, rng: np.random.Generator):
    """A slanting wave of period 3-14 px over the picture, grey or coloured, 3.5-28 levels high.

    Its direction keeps 12 degrees or more from rows and columns, so that `stripes`, which is held
    out, stays a thing not seen.
    """
    amplitude = level(severity, INTERFERENCE_AMPLITUDE)
    period_px = float(np.exp(rng.uniform(np.log(3.0), np.log(14.0))))
    angle_deg = 90 * int(rng.integers(2)) + float(rng.uniform(12, 78))
    phase, coloured = rng.uniform(0, 2 * np.pi, 3), bool(rng.random() < 0.4)
    height, width = image.shape[:2]
    angle = np.radians(angle_deg)
    along = (
        np.arange(width, dtype=np.float32)[None] * np.cos(angle)
        + np.arange(height, dtype=np.float32)[:, None] * np.sin(angle)
    ) * (2 * np.pi / period_px)
    phases = phase if coloured else np.repeat(phase[:1], 3)
    wave = np.sin(along[..., None] + phases.astype(np.float32))
    return add(image, amplitude * wave), {
        "amplitude": amplitude,
        "period_px": round(period_px, 3),
        "angle_deg": round(angle_deg, 2),
        "coloured": coloured,
    }
