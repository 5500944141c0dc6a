"""Small operations on uint8 images that the distortions share (numpy and Pillow only).

Shapes: an image is uint8 [H,W,3] RGB; a float image is float32 [H,W,3] in 0..255.
Pillow does what it does fastest on 8 bits (blur, resize, codecs), numpy the rest.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

__all__ = [
    "add",
    "blur",
    "feather",
    "jpeg_round_trip",
    "level",
    "luma",
    "resize",
    "smooth_field",
    "through_table",
    "to_uint8",
    "warp",
]

#: Rec. 601 weights, the ones JPEG uses.
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def level(severity: float, values: Sequence[float]) -> float:
    """Strength at a severity in 1..5 from five values, linear between them."""
    return float(np.interp(severity, (1, 2, 3, 4, 5), values))


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Rounds and clips a float image in 0..255 to uint8, same shape."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def luma(image: np.ndarray) -> np.ndarray:
    """Rec. 601 luma of [H,W,3] as float32 [H,W,1], 0..255."""
    return (image.astype(np.float32) @ LUMA_WEIGHTS)[..., None]


def add(image: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """image + offset (broadcastable, in 0..255 units) as uint8."""
    return to_uint8(image.astype(np.float32) + offset)


def blur(image: np.ndarray, sigma_px: float) -> np.ndarray:
    """Gaussian blur of uint8 [H,W,3] (Pillow's extended box blur), same shape and type."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(sigma_px)))


def resize(
    image: np.ndarray,
    height: int,
    width: int,
    *,
    filter: Image.Resampling = Image.Resampling.BICUBIC,
    box: tuple[float, float, float, float] | None = None,
) -> np.ndarray:
    """Resizes uint8 [H,W,3], from `box` (left, top, right, bottom in px) where given."""
    size = (max(1, int(width)), max(1, int(height)))
    return np.asarray(Image.fromarray(image).resize(size, filter, box=box))


def through_table(image: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Applies a tone curve, 256 floats in 0..255, to every channel."""
    return to_uint8(curve)[image]


def jpeg_round_trip(image: np.ndarray, quality: float, *, chroma_subsampling: bool) -> np.ndarray:
    """Encodes and decodes as JPEG at an integer quality; 4:2:0 or 4:4:4."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(
        buffer, "JPEG", quality=int(round(quality)), subsampling=2 if chroma_subsampling else 0
    )
    return np.asarray(Image.open(buffer).convert("RGB"))


def smooth_field(
    rng: np.random.Generator, height: int, width: int, cell_px: float, num_channels: int
) -> np.ndarray:
    """Normal noise correlated over about `cell_px`: float32 [H,W,C], mean 0, deviation 1."""
    rows, columns = (max(2, int(np.ceil(side / cell_px)) + 1) for side in (height, width))
    coarse = rng.standard_normal((num_channels, rows, columns), dtype=np.float32)
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BICUBIC))
        for plane in coarse
    ]
    field = np.stack(planes, axis=-1)
    field = field - field.mean(axis=(0, 1))
    return field / np.maximum(field.std(axis=(0, 1)), 1e-6)


def feather(height: int, width: int, border: float = 0.25) -> np.ndarray:
    """A window float32 [H,W,1]: 1 inside, falling to 0 over `border` of each side (cosine)."""

    def ramp(length: int) -> np.ndarray:
        distance = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
        return 0.5 - 0.5 * np.cos(np.pi * np.clip(distance / max(1.0, border * length), 0, 1))

    return np.outer(ramp(height), ramp(width)).astype(np.float32)[..., None]


def warp(image: np.ndarray, shift_y: np.ndarray, shift_x: np.ndarray) -> np.ndarray:
    """Pulls each pixel from (y+shift_y, x+shift_x), bilinear, edges repeated; shifts [H,W] px."""
    height, width = image.shape[:2]
    y = np.clip(np.arange(height, dtype=np.float32)[:, None] + shift_y, 0, height - 1)
    x = np.clip(np.arange(width, dtype=np.float32)[None, :] + shift_x, 0, width - 1)
    top, left = y.astype(np.intp), x.astype(np.intp)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[..., None], (x - left)[..., None]
    upper = image[top, left] * (1 - across) + image[top, right] * across
    lower = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return to_uint8(upper * (1 - down) + lower * down)
