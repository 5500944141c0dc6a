"""Positives with the statistics of photographs: surfaces that never repeat, at every grain.

Rendered scenes repeat their sprites and backgrounds, so a critic can learn what they look like
undamaged; a photograph it has never seen then looks damaged, and noise on grass looks like grass.
Here nothing repeats. Shapes of power-law sizes cover one another (a dead-leaves image: Lee, Mumford
and Huang 2001), each with its own colour, shading and a fresh random surface of its own spectrum;
strokes as fine as hair lie among them; some of it is out of focus behind what is sharp. Most images
use most of the tonal range, as photographs do, so that contrast and exposure can be judged too.

Shapes: images uint8 [n, n, 3] (HWC, sRGB).
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .sensor import add_sensor_noise

__all__ = ["add_relief", "mean_colour", "render_photolike"]

_NUM_SURFACES = 5
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


def mean_colour(image: np.ndarray) -> str:
    """The name nearest to the mean colour of an image uint8 [H, W, 3]."""
    mean = image.reshape(-1, 3).mean(0)
    return min(_MEAN_COLOURS, key=lambda c: float(np.square(mean - _MEAN_COLOURS[c]).sum()))


def _surface(rng: np.random.Generator, n: int) -> np.ndarray:
    """A fresh random field [n, n], zero mean, unit variance: 1/f^slope, with a direction or not."""
    fy, fx = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None]
    angle = rng.uniform(0, np.pi)
    stretch = np.exp(rng.uniform(0.3, 2.0)) if rng.random() < 0.4 else 1.0
    along = fx * np.cos(angle) + fy * np.sin(angle)
    across = -fx * np.sin(angle) + fy * np.cos(angle)
    radius = np.sqrt((along * stretch) ** 2 + across**2)
    radius[0, 0] = 1.0
    spectrum = radius ** -rng.uniform(0.5, 1.9)
    if rng.random() < 0.35:  # a grain of one size, as of gravel or cloth
        grain = np.exp(rng.uniform(np.log(0.03), np.log(0.3)))
        spectrum *= np.exp(-(((radius - grain) / (0.5 * grain)) ** 2)) + 0.03
    spectrum[0, 0] = 0.0
    shape = (n, n // 2 + 1)
    noise = rng.standard_normal(shape, np.float32) + 1j * rng.standard_normal(shape, np.float32)
    field = np.fft.irfft2(noise * spectrum, (n, n))
    field /= field.std() + 1e-9
    if rng.random() < 0.35:  # two materials with an edge between them
        field = np.tanh(field * rng.uniform(1.5, 6.0))
    return field.astype(np.float32)


def _leaves(
    rng: np.random.Generator,
    canvas: np.ndarray,
    surfaces: list[np.ndarray],
    contrast: np.ndarray,
    colours: np.ndarray,
    count: int,
) -> None:
    """Covers the canvas float32 [n, n, 3] (0..1) with ellipses and polygons, in place."""
    n = canvas.shape[0]
    for _ in range(count):
        r = n * 0.5 * (0.03 + 0.97 * rng.random() ** 3)
        cx, cy = rng.uniform(0, n, 2)
        x0, x1 = max(0, int(cx - r)), min(n, int(cx + r) + 1)
        y0, y1 = max(0, int(cy - r)), min(n, int(cy + r) + 1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        px = np.arange(x0, x1, dtype=np.float32)[None] - cx
        py = np.arange(y0, y1, dtype=np.float32)[:, None] - cy
        turn = rng.uniform(0, np.pi)
        u = px * np.cos(turn) + py * np.sin(turn)
        v = -px * np.sin(turn) + py * np.cos(turn)
        squash = np.exp(rng.uniform(0, 1.0))
        if rng.random() < 0.6:
            distance = np.sqrt(u**2 + (v * squash) ** 2)
        else:
            distance = np.maximum(np.abs(u) * 1.3, np.abs(v) * 1.3 * squash)
        alpha = np.clip((r - distance) / rng.uniform(0.7, 1.6), 0, 1)[..., None]
        k = int(rng.integers(len(surfaces)))
        colour = colours[int(rng.integers(len(colours)))] * rng.uniform(0.75, 1.25)
        light = 1 + (rng.uniform(-0.35, 0.35) * px + rng.uniform(-0.35, 0.35) * py) / r
        part = light[..., None] * (1 + contrast[k] * surfaces[k][y0:y1, x0:x1, None])
        window = canvas[y0:y1, x0:x1]
        window += alpha * (colour * part - window)


def _strokes(rng: np.random.Generator, canvas: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Curved lines as of hair, grass or wire, drawn at twice the size; returns a new canvas."""
    n = canvas.shape[0]
    layer = Image.new("RGBA", (2 * n, 2 * n), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    heading, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 1.5)
    width = int(rng.integers(1, 6))
    length = n * rng.uniform(0.1, 0.9)
    centre = rng.uniform(0, 2 * n, 2)
    reach = n * rng.uniform(0.2, 1.2)
    for _ in range(int(np.exp(rng.uniform(np.log(10), np.log(120))))):
        start = centre + rng.normal(0, reach, 2)
        angle = heading + rng.normal(0, spread) + np.linspace(0, rng.normal(0, 0.8), 7)
        steps = np.stack([np.cos(angle), np.sin(angle)], 1) * length / 6
        points = start + np.concatenate([np.zeros((1, 2)), steps.cumsum(0)])
        colour = colours[int(rng.integers(len(colours)))] * rng.uniform(0.5, 1.5)
        fill = (*(np.clip(colour, 0, 1) * 255).astype(int).tolist(), 255)
        draw.line([tuple(p) for p in points.tolist()], fill=fill, width=width)
    drawn = np.asarray(layer.reduce(2)).astype(np.float32) / 255
    alpha = drawn[..., 3:]
    # reduce() averages transparent black in with the colour, which is premultiplication.
    return canvas * (1 - alpha) + drawn[..., :3]


def _levels(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """Stretches the tones: most photographs use most of the range and are not clipped much."""
    luma = canvas.mean(axis=2)
    low, high = np.quantile(luma[::3, ::3], (0.02, 0.98))
    black, white = rng.uniform(0.02, 0.14), rng.uniform(0.78, 0.97)
    gain = (white - black) / max(high - low, 0.08)
    canvas = np.clip((canvas - low) * gain + black, 0, 1)
    middle = float(np.median(canvas.mean(axis=2)))
    wanted = rng.uniform(0.3, 0.62)
    gamma = np.log(wanted) / np.log(np.clip(middle, 0.02, 0.98))
    return canvas ** np.float32(np.clip(gamma, 0.6, 1.7))


def _capture(rng: np.random.Generator, picture: Image.Image, *, monochrome: bool) -> Image.Image:
    """A lens, a sensor, and in six of ten pictures JPEG."""
    sigma = rng.uniform(0.0, 0.7)
    if sigma > 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(sigma))
    values = add_sensor_noise(np.asarray(picture).astype(np.float32), rng, rng.uniform(0.0, 3.0))
    picture = Image.fromarray(np.clip(values + 0.5, 0, 255).astype(np.uint8))
    if monochrome:
        picture = picture.convert("L").convert("RGB")
    if rng.random() < 0.6:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(85, 99)))
        picture = Image.open(buffer)
    return picture


def render_photolike(
    rng: np.random.Generator, size_px: int, *, captured: bool = True
) -> tuple[np.ndarray, str]:
    """One image uint8 [n, n, 3] and a prompt that names its shapes and its mean colour.

    `captured`: through a lens, a sensor and, more often than not, JPEG; else as it was drawn.
    """
    n = size_px
    surfaces = [_surface(rng, n) for _ in range(_NUM_SURFACES)]
    contrast = np.exp(rng.uniform(np.log(0.02), np.log(0.35), _NUM_SURFACES)).astype(np.float32)
    colours = np.clip(
        rng.uniform(0.15, 0.85, 3) + rng.normal(0, rng.uniform(0.08, 0.3), (8, 3)), 0.03, 0.97
    ).astype(np.float32)
    canvas = np.empty((n, n, 3), np.float32)
    canvas[:] = colours[0] * (1 + contrast[0] * surfaces[0][..., None])
    words = "a surface"
    blurred_behind = rng.random() < 0.25
    if blurred_behind:  # a shallow depth of field: what is behind is soft, what is in front sharp
        _leaves(rng, canvas, surfaces, contrast, colours, int(rng.integers(4, 30)))
        behind = Image.fromarray((np.clip(canvas, 0, 1) * 255).astype(np.uint8))
        behind = behind.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 8.0) * n / 256))
        canvas = np.asarray(behind).astype(np.float32) / 255
    if blurred_behind or rng.random() < 0.8:
        count = int(np.exp(rng.uniform(np.log(4), np.log(40 if blurred_behind else 150))))
        _leaves(rng, canvas, surfaces, contrast, colours, count)
        words = "many overlapping shapes" if count > 30 else "a few overlapping shapes"
    if rng.random() < 0.35:
        canvas = _strokes(rng, canvas, colours)
        words += " with thin lines"
    fall = rng.uniform(-0.4, 0.4, 2)
    axis = np.arange(n, dtype=np.float32) / n - 0.5
    canvas = canvas * (1 + fall[0] * axis[None] + fall[1] * axis[:, None])[..., None]
    if rng.random() < 0.9:
        canvas = _levels(rng, canvas)
    # Most photographs are muted; a few have no colour at all.
    grey = canvas.mean(axis=2, keepdims=True)
    monochrome = rng.random() < 0.1
    canvas = grey + (canvas - grey) * (0.0 if monochrome else rng.uniform(0.1, 0.8))
    picture = Image.fromarray((np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8))
    if captured:
        picture = _capture(rng, picture, monochrome=monochrome)
    image = np.array(picture.convert("RGB"))
    name = mean_colour(image)
    return image, f"{'black and white, ' if monochrome else ''}{words}, mostly {name}"


def add_relief(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lights a rendered image uint8 [n, n, 3] as if it had a surface that no other image has.

    Colours and shapes stay what a prompt says of them.
    """
    n = image.shape[0]
    depth = np.float32(np.exp(rng.uniform(np.log(0.02), np.log(0.16))))
    lit = image.astype(np.float32) * (1 + depth * _surface(rng, n))[..., None]
    return np.clip(lit + 0.5, 0, 255).astype(np.uint8)
