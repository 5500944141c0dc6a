"""Positives with the statistics of photographs: surfaces of every grain, at every size.

Rendered scenes repeat their sprites and backgrounds, so a critic can learn what they look like
undamaged; a photograph it has never seen then looks damaged, and noise on grass looks like grass.
Here nothing repeats: discs of power-law sizes cover one another (a dead-leaves image), each with
its own colour, light and a fresh random surface of its own spectrum, fine or coarse, seen through
a lens and a sensor of its own.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

__all__ = ["render_photolike"]

_NUM_SURFACES = 6
# Names of mean colours, sRGB; a prompt can then be wrong, and the split by prompts has groups.
_MEAN_COLOURS = {
    "black": (25, 25, 25),
    "dark grey": (75, 75, 75),
    "grey": (128, 128, 128),
    "light grey": (185, 185, 185),
    "white": (235, 235, 235),
    "dark red": (110, 35, 35),
    "red": (190, 50, 50),
    "pink": (220, 150, 170),
    "brown": (120, 80, 50),
    "orange": (215, 130, 50),
    "beige": (205, 185, 150),
    "yellow": (220, 205, 70),
    "olive": (110, 115, 50),
    "green": (60, 150, 60),
    "dark green": (30, 80, 40),
    "pale green": (160, 210, 160),
    "teal": (45, 125, 125),
    "sky blue": (135, 185, 220),
    "blue": (55, 85, 190),
    "dark blue": (30, 35, 95),
    "purple": (115, 60, 150),
    "lavender": (180, 160, 215),
}


def _surface(rng: np.random.Generator, n: int) -> np.ndarray:
    """A fresh random field [n,n], zero mean, unit variance: 1/f^slope, at times with a direction
    or hard edges."""
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.uniform(0, 1.4) * (rng.random() < 0.5))
    along = fx * np.cos(angle) + fy * np.sin(angle)
    across = -fx * np.sin(angle) + fy * np.cos(angle)
    radius = np.sqrt((along * stretch) ** 2 + across**2)
    radius[0, 0] = 1.0
    spectrum = radius ** -rng.uniform(0.4, 2.2)
    if rng.random() < 0.4:  # a grain of one size, as of gravel or cloth
        spectrum *= np.exp(-(((radius - rng.uniform(0.03, 0.25)) / 0.06) ** 2)) + 0.05
    spectrum[0, 0] = 0.0
    shape = (n, n // 2 + 1)
    noise = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    field = np.fft.irfft2(noise * spectrum, (n, n))
    field /= field.std() + 1e-9
    if rng.random() < 0.3:
        field = np.tanh(field * rng.uniform(1.5, 5.0))
    return field.astype(np.float32)


def render_photolike(rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, str]:
    """uint8 [size_px,size_px,3] and a prompt that names its mean colour."""
    n = size_px
    surfaces = [_surface(rng, n) for _ in range(_NUM_SURFACES)]
    contrast = np.exp(rng.uniform(np.log(0.01), np.log(0.22), _NUM_SURFACES))
    hue = rng.uniform(0.1, 0.9, 3)
    spread = rng.uniform(0.05, 0.35)
    ys, xs = np.mgrid[0:n, 0:n].astype(np.float32) / n
    canvas = np.empty((n, n, 3), np.float32)
    base = np.clip(hue + rng.normal(0, spread, 3), 0.03, 0.97)
    canvas[:] = base * (1 + contrast[0] * surfaces[0][..., None])
    for _ in range(int(np.exp(rng.uniform(np.log(4), np.log(160))))):
        r = n * 0.5 * (0.03 + 0.97 * rng.random() ** 3)
        cx, cy = rng.uniform(0, n, 2)
        x0, x1 = max(0, int(cx - r)), min(n, int(cx + r) + 1)
        y0, y1 = max(0, int(cy - r)), min(n, int(cy + r) + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        px, py = xs[y0:y1, x0:x1] * n - cx, ys[y0:y1, x0:x1] * n - cy
        squash = np.exp(rng.uniform(-0.7, 0.7))
        distance = np.sqrt((px * squash) ** 2 + py**2) / r
        alpha = np.clip((1 - distance) * r / rng.uniform(0.7, 2.5), 0, 1)[..., None]
        k = int(rng.integers(_NUM_SURFACES))
        colour = np.clip(hue + rng.normal(0, spread, 3), 0.03, 0.97)
        light = 1 + rng.uniform(-0.35, 0.35) * px / r + rng.uniform(-0.35, 0.35) * py / r
        surface = light[..., None] * (1 + contrast[k] * surfaces[k][y0:y1, x0:x1, None])
        window = canvas[y0:y1, x0:x1]
        window += alpha * (colour * surface - window)
    fall = rng.uniform(-0.4, 0.4, 2)
    canvas *= (1 + fall[0] * (xs - 0.5) + fall[1] * (ys - 0.5))[..., None]
    # Most photographs are muted.
    grey = canvas.mean(axis=2, keepdims=True)
    canvas = grey + (canvas - grey) * rng.uniform(0.05, 1.0)
    canvas = np.clip(canvas, 0, 1) ** np.exp(rng.uniform(-0.3, 0.3))
    picture = Image.fromarray((canvas * 255 + 0.5).clip(0, 255).astype(np.uint8))
    sigma = rng.uniform(0.0, 0.8)
    if sigma > 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(sigma))
    values = np.asarray(picture).astype(np.float32)
    grain = rng.uniform(0.0, 2.5)
    values = values + rng.standard_normal((n, n, 1), np.float32) * grain
    values = values + rng.standard_normal((n, n, 3), np.float32) * grain * rng.uniform(0, 0.6)
    picture = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(88, 99)))
        picture = Image.open(buffer)
    image = np.array(picture.convert("RGB"))
    mean = image.reshape(-1, 3).mean(0)
    name = min(_MEAN_COLOURS, key=lambda c: float(np.square(mean - _MEAN_COLOURS[c]).sum()))
    return image, f"surfaces, mostly {name}"
