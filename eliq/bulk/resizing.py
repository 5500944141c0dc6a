"""A picture at the size at which it is scored, in little memory, to the bit as the scorer does it.

`eliq.patches.prepare_image` rounds to 8 bits when it has resized, so its result fits into bytes:
a decoding worker resizes, and hands over a few hundred kilobytes rather than a 64 Mpx picture.

Shapes: H, W pixels as decoded, h, w after resizing.
"""

from __future__ import annotations

import io

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..image_decoding import to_unit
from ..patches import PatchConfig, target_size

__all__ = ["jpeg_thumbnail", "resized_bytes"]

_STRIP_PX = 1 << 20  # of the decoded picture, resized at once


def resized_bytes(stored: Tensor, patches: PatchConfig | None) -> Tensor:
    """RGB [3,H,W], uint8 or float32 in [0,1] -> uint8 [3,h,w], contiguous.

    Scoring the result gives the same bits as scoring ``stored``. ``patches`` None leaves the size
    as it is, and so does a size that resizing twice would not keep.
    """
    height, width = stored.shape[-2:]
    size = (height, width) if patches is None else target_size(height, width, patches)
    if patches is None or target_size(*size, patches) != size:
        size = (height, width)
    if size == (height, width):
        return _to_bytes(stored)
    # Rows are resized horizontally one by one, so strips of them give the same as the whole.
    rows = max(1, _STRIP_PX // width)
    narrow = torch.cat([_resized_width(strip, size[1]) for strip in stored.split(rows, dim=1)], 1)
    if size[0] == height:
        return narrow
    unit = to_unit(narrow)[None]
    tall = F.interpolate(unit, size, mode="bicubic", antialias=True, align_corners=False)
    return _to_bytes(tall[0])


def _resized_width(strip: Tensor, width: int) -> Tensor:
    unit = to_unit(_to_bytes(strip))
    if unit.shape[-1] == width:
        return _to_bytes(unit)
    size = (unit.shape[-2], width)
    wide = F.interpolate(unit[None], size, mode="bicubic", antialias=True, align_corners=False)
    return _to_bytes(wide[0])


def _to_bytes(pixels: Tensor) -> Tensor:
    if pixels.dtype == torch.uint8:
        return pixels.contiguous()
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).contiguous()


def jpeg_thumbnail(pixels: Tensor, longest_px: int = 192, quality: int = 72) -> bytes:
    """A small JPEG of uint8 [3,h,w], its longer side at most ``longest_px``."""
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    factor = -(-max(image.size) // longest_px)
    if factor > 2:  # whole factors are averaged in a fifth of the time, and none is half too small
        image = image.reduce(factor)
    image.thumbnail((longest_px, longest_px), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
