"""How much fine detail an image has: an early decode must have less than the finished one.

Shapes: an image is uint8 [H,W,3] RGB.
"""

from __future__ import annotations

import numpy as np

from eliq.supervision.pixels import luma

__all__ = ["detail_energy"]


def detail_energy(image: np.ndarray) -> float:
    """Mean square of the 4-neighbour Laplacian of luma over that of luma about its mean, >= 0.

    By the contrast of the picture itself: x0 of an early step is often paler than the end, and
    paler is not less finished. Unfinished pictures are smooth, so theirs is lower; so is that of a
    blurred one. Noise raises it. 0 for a constant picture.
    """
    grey = luma(image)[..., 0].astype(np.float64)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    variance = float(grey.var())
    return float(np.mean((4 * inner - around) ** 2)) / variance if variance > 0 else 0.0
