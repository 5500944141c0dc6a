"""Damage that lies on one thing, on several, or on the whole image.

Shapes: images uint8 [S,S,3] RGB; boxes (x0, y0, x1, y1) in px; masks float32 [S,S,1] in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from eliq.supervision import distort

__all__ = ["KINDS", "Damage", "damaged", "soft_box"]

#: Distortions of `eliq.supervision`: those that a small transformer, which reads a patch by linear
#: weights first, tells apart after a minute of training (training/ip_iqa/LOG.md).
KINDS = ("dark", "low_contrast")
_WHOLE = 0.3  # share of images that are damaged as a whole
_LOCAL = 0.5  # of the others: how often each thing is damaged
_EDGE = 0.05  # width of the soft edge, of the image's side


class Damage(NamedTuple):
    """``severity`` 0..5, 0 = none; ``kind``, one of `KINDS`, "" = none."""

    severity: int = 0
    kind: str = ""


def soft_box(box: tuple[int, int, int, int], size_px: int) -> np.ndarray:
    """1 inside the box, falling to 0 within the soft edge outside it."""
    at = np.arange(size_px, dtype=np.float32) + 0.5
    across = np.maximum(np.maximum(box[0] - at, at - box[2]), 0)
    down = np.maximum(np.maximum(box[1] - at, at - box[3]), 0)
    far = np.maximum(across[None], down[:, None]) / (_EDGE * size_px)
    return (1 - far).clip(0, 1)[..., None]


def damaged(
    image: np.ndarray, boxes: Mapping[str, tuple[int, int, int, int]], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Damage]]:
    """A damaged copy, and the damage of each thing and of the background (``""``)."""
    found = dict.fromkeys([*boxes, ""], Damage())
    if rng.random() < _WHOLE:
        whole = _any(rng)
        return distort(image, whole.kind, whole.severity, rng)[0], dict.fromkeys(found, whole)
    out = image.astype(np.float32)
    for noun, box in boxes.items():
        if rng.random() < _LOCAL:
            found[noun] = _any(rng)
            worse = distort(image, found[noun].kind, found[noun].severity, rng)[0]
            out += soft_box(box, image.shape[0]) * (worse - out)
    return out.round().clip(0, 255).astype(np.uint8), found


def _any(rng: np.random.Generator) -> Damage:
    return Damage(int(rng.integers(1, 6)), KINDS[int(rng.integers(len(KINDS)))])
