"""Conventional aesthetic distortions: colour, exposure, contrast, framing, clutter.

They stand in for the edited negatives of section 3.2.3 (composition and colour degraded, content
kept). Same contract as `technical.py`: (image uint8 [H,W,3], severity, rng) -> (image of the same
size, parameters), the same random numbers drawn at every severity. Sizes and places are fractions
of the picture.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .pixels import level, luma, resize, through_table, to_uint8

__all__ = [
    "bad_crop",
    "clutter",
    "colour_cast",
    "dark",
    "desaturation",
    "low_contrast",
    "over_exposure",
    "oversaturation",
    "tilt",
    "vignette",
]

#: Deviation of the log gains of the channels.
CAST_STRENGTH = (0.12, 0.2, 0.3, 0.43, 0.6)
#: Photographic stops.
OVER_STOPS = (0.5, 0.95, 1.5, 2.2, 3.1)
DARK_STOPS = (0.8, 1.5, 2.4, 3.5, 4.9)
CONTRAST_KEPT = (0.78, 0.6, 0.44, 0.3, 0.18)
SATURATION_FACTOR = (1.4, 1.8, 2.4, 3.4, 5.0)
#: Never all of it: a black-and-white picture may be meant.
SATURATION_LOST = (0.35, 0.55, 0.72, 0.86, 0.96)
#: Share of each side that a crop keeps.
CROP_KEPT = (0.8, 0.66, 0.54, 0.43, 0.34)
TILT_DEG = (5, 9, 14, 21, 30)
CLUTTER_ITEMS = (2, 4, 8, 14, 24)
VIGNETTE_STRENGTH = (0.4, 0.56, 0.71, 0.86, 1.0)


def colour_cast(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Channels multiplied by unequal gains of a random hue; mean luma kept."""
    strength = level(severity, CAST_STRENGTH)
    angle = float(rng.uniform(0, 2 * np.pi))
    # Three directions 120 degrees apart sum to zero: a shift of hue without one of brightness.
    direction = np.cos(angle + 2 * np.pi / 3 * np.arange(3))
    pixels = image.astype(np.float32) * np.exp(strength * direction).astype(np.float32)
    pixels *= luma(image).mean() / max(1e-3, float(luma(pixels).mean()))
    return to_uint8(pixels), {"strength": strength, "hue_deg": round(float(np.degrees(angle)), 2)}


def over_exposure(image: np.ndarray, severity: float, rng: np.random.Generator):
    """0.5-3.1 stops too bright, highlights clipped."""
    stops = level(severity, OVER_STOPS)
    # A gain g in linear light is g^(1/2.2) on gamma-coded values.
    return through_table(image, np.arange(256) * 2 ** (stops / 2.2)), {"stops": stops}


def dark(image: np.ndarray, severity: float, rng: np.random.Generator):
    """0.8-4.9 stops too dark."""
    stops = level(severity, DARK_STOPS)
    return through_table(image, np.arange(256) * 2 ** (-stops / 2.2)), {"stops": stops}


def low_contrast(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Contrast reduced to 78-18 % about a grey between the picture's mean and a random one."""
    kept = level(severity, CONTRAST_KEPT)
    grey = 0.5 * float(image.mean()) + 0.5 * float(rng.uniform(70, 190))
    return through_table(image, grey + kept * (np.arange(256) - grey)), {
        "contrast": kept,
        "grey": round(grey, 2),
    }


def _saturate(image: np.ndarray, factor: float) -> np.ndarray:
    grey = luma(image)
    return to_uint8(grey + factor * (image - grey))


def oversaturation(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Saturation times 1.4-5."""
    factor = level(severity, SATURATION_FACTOR)
    return _saturate(image, factor), {"saturation": factor}


def desaturation(image: np.ndarray, severity: float, rng: np.random.Generator):
    """35-96 % of the saturation lost."""
    kept = 1 - level(severity, SATURATION_LOST)
    return _saturate(image, kept), {"saturation": round(kept, 4)}


def bad_crop(image: np.ndarray, severity: float, rng: np.random.Generator):
    """80-34 % of each side kept at a corner or border, enlarged to the old size.

    The enlargement also softens: at a fixed size a crop cannot avoid it.
    """
    kept = level(severity, CROP_KEPT)
    height, width = image.shape[:2]
    corners = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 0.5), (1, 0.5), (0.5, 0), (0.5, 1))
    down, across = corners[int(rng.integers(len(corners)))]
    top, left = down * height * (1 - kept), across * width * (1 - kept)
    box = (left, top, left + width * kept, top + height * kept)
    out = resize(image, height, width, filter=Image.Resampling.LANCZOS, box=box)
    return out, {"kept": kept, "box_px": [round(v, 2) for v in box]}


def tilt(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Rotated by 5-30 degrees: zoomed until no border shows, or with flat corners."""
    degrees = level(severity, TILT_DEG) * (1 if rng.random() < 0.5 else -1)
    zoomed = bool(rng.random() < 0.6)
    fill = int(rng.integers(0, 256))
    height, width = image.shape[:2]
    angle = np.radians(degrees)
    cosine, sine = np.cos(angle), np.sin(angle)
    ratio = max(height / width, width / height)
    zoom = cosine + ratio * abs(sine) if zoomed else 1.0
    a, b = cosine / zoom, sine / zoom
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    matrix = (
        a,
        b,
        middle_x - a * middle_x - b * middle_y,
        -b,
        a,
        middle_y + b * middle_x - a * middle_y,
    )
    turned = Image.fromarray(image).transform(
        (width, height),
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=(fill, fill, fill),
    )
    return np.asarray(turned), {"degrees": degrees, "zoomed": zoomed, "fill": fill}


def clutter(image: np.ndarray, severity: float, rng: np.random.Generator):
    """2-24 loud shapes, bars and scribbles laid over the picture."""
    num_items = int(level(severity, CLUTTER_ITEMS))
    height, width = image.shape[:2]
    # Drawn at twice the size and reduced, else stair-step edges would be a technical cue.
    layer = Image.new("RGBA", (2 * width, 2 * height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(layer)
    for draws in rng.random((CLUTTER_ITEMS[-1], 12))[:num_items]:
        _draw_item(draw, draws, 2 * height, 2 * width)
    layer = layer.reduce(2)
    base = Image.fromarray(image).convert("RGBA")
    return np.asarray(Image.alpha_composite(base, layer).convert("RGB")), {"num_items": num_items}


def _draw_item(draw: ImageDraw.ImageDraw, draws: np.ndarray, height: int, width: int) -> None:
    """One shape from twelve numbers in 0..1."""
    kind, y, x, size, stretch, red, green, blue, opacity, *bends = (float(v) for v in draws)
    colour = tuple(int(255 * (v > 0.5) * 0.85 + 38 * v) for v in (red, green, blue))
    colour = (*colour, int(150 + 105 * opacity))
    half = (0.03 + 0.07 * size) * min(height, width)
    half_y, half_x = half * (0.5 + stretch), half * (1.5 - stretch)
    centre_y, centre_x = y * height, x * width
    box = (centre_x - half_x, centre_y - half_y, centre_x + half_x, centre_y + half_y)
    thickness = max(2, int(half / 6))
    if kind < 0.3:
        draw.rectangle(box, fill=colour)
    elif kind < 0.5:
        draw.ellipse(box, fill=colour)
    elif kind < 0.65:
        draw.rectangle((0, centre_y - thickness, width, centre_y + thickness), fill=colour)
    else:
        steps = np.arange(12)
        path_x = centre_x + (steps - 6) * half_x / 3
        path_y = centre_y + half_y * np.sin(steps * (1 + 2 * bends[0]) + 6 * bends[1])
        points = list(zip(path_x.tolist(), path_y.tolist(), strict=True))
        draw.line(points, fill=colour, width=thickness, joint="curve")


def vignette(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Darkened by 40-100 % away from a point near the middle."""
    strength = level(severity, VIGNETTE_STRENGTH)
    middle_y, middle_x = 0.5 + 0.15 * rng.uniform(-1, 1, 2)
    reach = float(rng.uniform(0.45, 0.65))
    height, width = image.shape[:2]
    y = ((np.arange(height, dtype=np.float32) + 0.5) / height - middle_y)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) / width - middle_x)[None, :]
    fall = np.clip((np.sqrt(y * y + x * x) - 0.15) / reach, 0, 1)
    fall = (fall * fall * (3 - 2 * fall)).astype(np.float32)
    return to_uint8(image * (1 - strength * fall[..., None])), {
        "strength": strength,
        "middle": [round(float(middle_y), 4), round(float(middle_x), 4)],
        "reach": round(reach, 4),
    }
