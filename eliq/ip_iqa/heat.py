"""Attention as colours over an image.

Shapes: h, w cells of the map; H, W pixels of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

__all__ = ["LEAST_DEVIATION", "HeatScale", "colour_bar", "heat_over", "heat_scale"]

# From dark to light, so that the order also shows in grey and to colour-blind readers.
_STOPS = (
    (18, 14, 48),
    (80, 22, 104),
    (163, 43, 97),
    (229, 92, 48),
    (251, 176, 44),
    (252, 248, 178),
)
LEAST_DEVIATION = 0.15  # from even: less contrast than this is not stretched to look like some
_GREY_DIMMED = 0.6
_LEAST_COLOUR = 0.35  # share of the colour where there is no attention, and where there is most
_MOST_COLOUR = 0.65


class HeatScale(NamedTuple):
    """The attention that gets the darkest and the lightest colour, in multiples of the even share.

    Even attention (1) is the middle colour, unless ``top`` lies above 2: then ``low`` is 0.
    """

    low: float
    top: float


def heat_scale(maps: Sequence[Tensor]) -> HeatScale:
    """One scale for maps that are shown side by side.

    Args:
        maps: [h,w] each, attention in multiples of the even share (1 = as if spread evenly).
    """
    top = max(float(cells.max()) for cells in maps)
    if top >= 2:
        return HeatScale(0.0, top)
    lowest = min(float(cells.min()) for cells in maps)
    deviation = max(top - 1, 1 - lowest, LEAST_DEVIATION)
    return HeatScale(1 - deviation, 1 + deviation)


def heat_over(image: Image.Image, cells: Tensor, scale: HeatScale) -> Image.Image:
    """``image`` in dim grey under the map ``cells`` [h,w], blended between the cells' centres.

    Args:
        image: RGB, H x W.
        cells: attention in multiples of the even share.
    """
    size = (image.height, image.width)
    smooth = F.interpolate(
        cells.float().cpu()[None, None], size, mode="bilinear", align_corners=False
    )[0, 0]
    level = (
        ((smooth - scale.low) / (scale.top - scale.low)).clamp(0, 1).numpy()[..., None]
    )  # [H,W,1]
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None] * _GREY_DIMMED
    share = _LEAST_COLOUR + (_MOST_COLOUR - _LEAST_COLOUR) * level
    mixed = (1 - share) * grey + share * _colours(level[..., 0])
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def colour_bar(width_px: int, height_px: int) -> Image.Image:
    """The colours from no attention (left) to the most (right)."""
    row = _colours(np.linspace(0.0, 1.0, width_px, dtype=np.float32))[None]
    return Image.fromarray(np.repeat(row.round().astype(np.uint8), height_px, axis=0))


def _colours(level: np.ndarray) -> np.ndarray:
    """Levels 0..1 of any shape -> RGB in 0..255, one axis more."""
    stops = np.asarray(_STOPS, dtype=np.float32)
    places = np.linspace(0.0, 1.0, len(stops))
    return np.stack([np.interp(level, places, stops[:, c]) for c in range(3)], axis=-1)
