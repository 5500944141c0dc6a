"""A fixed bank of random fields that backgrounds and textures cut their pieces from.

Making a field costs an FFT; cutting one costs a slice. The bank is made once a process from a
constant seed, so an image still depends on nothing but its own seed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

# name -> (exponent of the amplitude spectrum 1/f^e, horizontal stretch)
_KINDS = {
    "smooth": (2.0, 1.0),
    "cloud": (1.5, 1.0),
    "rough": (1.0, 1.0),
    "fine": (0.5, 1.0),
    "white": (0.0, 1.0),
    "waves": (1.3, 5.0),
    "streaks": (1.0, 14.0),
}
_COPIES = 4


def spectral_field(
    rng: np.random.Generator, size_px: int, exponent: float, stretch: float = 1.0
) -> np.ndarray:
    """Float32 [size, size] in 0..1 (median about .5): Gaussian noise with a 1/f^e spectrum."""
    fy = np.fft.fftfreq(size_px)[:, None]
    fx = np.fft.rfftfreq(size_px)[None, :] * stretch
    radius = np.maximum(np.hypot(fx, fy), 1.0 / size_px)
    spectrum = np.fft.rfft2(rng.standard_normal((size_px, size_px))) / radius**exponent
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(size_px, size_px))
    return np.clip(0.5 + 0.17 * field / field.std(), 0, 1).astype(np.float32)


@lru_cache(maxsize=4)
def _bank(size_px: int) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(20240607)
    return {
        name: [spectral_field(rng, size_px, *kind) for _ in range(_COPIES)]
        for name, kind in _KINDS.items()
    }


def field(rng: np.random.Generator, name: str, height: int, width: int | None = None) -> np.ndarray:
    """A random cut of a bank field: float32 [height, width] in 0..1, randomly flipped (a view)."""
    width = height if width is None else width
    side = 384 if max(height, width) <= 256 else 2 * max(height, width)
    copies = _bank(side)[name]
    which, y, x, flip = (
        (rng.random(4) * (len(copies), side - height + 1, side - width + 1, 4)).astype(int).tolist()
    )
    piece = copies[which][y : y + height, x : x + width]
    if flip & 1:
        piece = piece[:, ::-1]
    if flip & 2:
        piece = piece[::-1]
    return piece


def ramp(values: np.ndarray, colours: list[tuple[float, float, float]]) -> np.ndarray:
    """Map float [H, W] in 0..1 through evenly spaced sRGB colours (0..255): uint8 [H, W, 3]."""
    stops = np.asarray(colours, np.float32)
    at = np.linspace(0, 1, len(stops))
    grid = np.linspace(0, 1, 256)
    table = np.stack([np.interp(grid, at, stops[:, c]) for c in range(3)], axis=1)
    table = np.clip(table + 0.5, 0, 255).astype(np.uint8)
    index = (np.clip(values, 0, 1) * 255).astype(np.uint8)
    return table.take(index, axis=0)
