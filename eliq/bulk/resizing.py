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
    if height * width <= _STRIP_PX:
        # Whole numbers 0..255 in float32 are as exact as bytes, and take no copy in between.
        levels = _levels(_bicubic(_unit(stored), (height, size[1])))
        return _levels(_bicubic(levels.div_(255), size)).to(torch.uint8)
    # Rows are resized horizontally one by one, so strips of them give the same as the whole.
    rows = max(1, _STRIP_PX // width)
    strips = [
        _levels(_bicubic(_unit(strip), (strip.shape[1], size[1]))).to(torch.uint8)
        for strip in stored.split(rows, dim=1)
    ]
    narrow = torch.cat(strips, dim=1)
    return _levels(_bicubic(to_unit(narrow), size)).to(torch.uint8)


def _unit(pixels: Tensor) -> Tensor:
    return to_unit(pixels if pixels.dtype == torch.uint8 else _to_bytes(pixels))


def _bicubic(unit: Tensor, size: tuple[int, int]) -> Tensor:
    """[3,H,W] -> [3,*size], itself where it has that size."""
    if tuple(unit.shape[-2:]) == size:
        return unit
    return F.interpolate(unit[None], size, mode="bicubic", antialias=True, align_corners=False)[0]


def _levels(unit: Tensor) -> Tensor:
    """[0,1] and a little beyond -> whole numbers 0..255, float32, in place."""
    return unit.clamp_(0, 1).mul_(255).round_()


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
