"""A small camera: makes a clean render look captured, well short of a visible defect.

Order as in a real one: lens (point spread), white balance and tone curve, sensor noise, resize,
JPEG. Every effect is mild: the result is still a positive.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from .sensor import add_sensor_noise


def _tone_table(rng: np.random.Generator, strength: float) -> list[int]:
    """One 256-entry curve a channel: gain (white balance), gamma, and a gentle S."""
    x = np.linspace(0, 1, 256)
    gamma = np.exp(rng.uniform(-0.16, 0.16) * strength)
    bend = rng.uniform(-0.02, 0.10) * strength
    black, white = rng.uniform(0, 0.025) * strength, 1 - rng.uniform(0, 0.02) * strength
    curve = x**gamma
    curve = curve - bend * np.sin(2 * np.pi * curve) / np.pi
    curve = black + (white - black) * curve
    gains = 1 + rng.uniform(-0.05, 0.05, 3) * strength
    table = np.clip(curve[None, :] * (gains / gains.mean())[:, None], 0, 1)
    return (table * 255 + 0.5).astype(int).reshape(-1).tolist()


def camera(image: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """A captured look for uint8 [H, W, 3]; `strength` 0 (nearly none) to 1. Same size back."""
    picture = Image.fromarray(image)
    width, height = picture.size
    sigma = rng.uniform(0.0, 0.7) * strength
    if sigma > 0.15:
        picture = picture.filter(ImageFilter.GaussianBlur(sigma))
    picture = picture.point(_tone_table(rng, strength))
    noise = rng.uniform(0.0, 3.0) * strength
    if noise > 0.3:
        values = add_sensor_noise(np.asarray(picture).astype(np.float32), rng, noise)
        picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    if rng.random() < 0.5 * strength:
        factor = rng.uniform(0.8, 1.3)
        other = (max(8, int(width * factor)), max(8, int(height * factor)))
        picture = picture.resize(other, Image.Resampling.BICUBIC)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    if rng.random() < 0.8:
        buffer = io.BytesIO()
        quality = int(rng.uniform(78, 99))
        picture.save(buffer, "JPEG", quality=quality, subsampling=0 if quality > 90 else 2)
        picture = Image.open(buffer).convert("RGB")
    return np.asarray(picture)
