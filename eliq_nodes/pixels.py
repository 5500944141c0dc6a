"""Between ComfyUI's images, channels last, and ELIQ's, channels first. Only here.

Shapes: B images of H x W px, C channels. ComfyUI's IMAGE is [B,H,W,C], float, 0..1, C = 1, 3
or 4; `eliq` takes [B,3,H,W], float, 0..1.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["to_bchw", "to_bhwc"]


def to_bchw(images_bhwc: Tensor) -> Tensor:
    """IMAGE [B,H,W,C] as [B,3,H,W] in 0..1: a view of it where its values allow.

    Alpha is composited on white, as ELIQ does with files; grey becomes three equal channels.
    What a filter has overshot is cut to 0..1; NaN and infinities stay, to be reported by name.

    Raises:
        ValueError: another shape, or integers.
    """
    is_image = isinstance(images_bhwc, Tensor) and images_bhwc.ndim == 4
    if not is_image or images_bhwc.shape[-1] not in (1, 3, 4):
        found = list(images_bhwc.shape) if isinstance(images_bhwc, Tensor) else type(images_bhwc)
        raise ValueError(
            f"images: expected a batch [B,H,W,C] with 1, 3 or 4 channels, found {found}: link an "
            "IMAGE output, and decode latents with VAE Decode first"
        )
    if not images_bhwc.is_floating_point():
        raise ValueError(
            f"images: expected floats from 0 to 1, found {images_bhwc.dtype}: link an IMAGE output"
        )
    pixels = images_bhwc.detach().permute(0, 3, 1, 2)
    if pixels.numel():
        lowest, highest = pixels.aminmax()
        if not (lowest >= 0 and highest <= 1):  # NaN as well
            pixels = torch.where(pixels.isfinite(), pixels.clamp(0.0, 1.0), pixels)
    if pixels.shape[1] == 4:
        colour, alpha = pixels[:, :3], pixels[:, 3:]
        pixels = colour * alpha + (1.0 - alpha)
    return pixels.expand(-1, 3, -1, -1)


def to_bhwc(images_bchw: Tensor) -> Tensor:
    """[B,C,H,W] in 0..1 as an IMAGE: float32 [B,H,W,C], contiguous, on the device it lies on."""
    return images_bchw.detach().float().clamp(0.0, 1.0).permute(0, 2, 3, 1).contiguous()
