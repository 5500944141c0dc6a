"""Sensor noise of the renderer's cameras, new in every image: nothing of it can be learnt by heart.

Not from the bank of `noise.py`: a critic that has seen the same grain on every undamaged image may
take any other for damage.
"""

from __future__ import annotations

import numpy as np

__all__ = ["add_sensor_noise"]


def add_sensor_noise(
    values: np.ndarray, rng: np.random.Generator, amount: float, *, colour: float = 0.5
) -> np.ndarray:
    """Shot noise of standard deviation about `amount` grey levels at mid grey, a little coloured.

    `values` float32 [H, W, 3] in 0..255; a new array of the same kind, not clipped.
    """
    if amount <= 0.3:
        return values
    height, width, _ = values.shape
    # It grows with the root of the signal.
    level = np.sqrt(np.maximum(values[..., 1], 0) * np.float32(1 / 128))
    level = level * np.float32(0.8) + np.float32(0.2)
    grain = rng.standard_normal((height, width), np.float32) * np.float32(amount)
    tint = rng.standard_normal((height, width), np.float32) * np.float32(amount * colour)
    out = values + (grain * level)[..., None]
    out[..., 0] += tint
    out[..., 2] -= tint
    return out
