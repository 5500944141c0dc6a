"""Decoded images of any size to the batch that the model reads, on the model's device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..image_decoding import to_unit
from .preprocess import to_model_pixels

__all__ = ["model_pixels"]


def model_pixels(images: list[Tensor], size_px: int, device: torch.device) -> Tensor:
    """float32 [B,3,size_px,size_px] in [0,1] of images [3,H,W], uint8 or float in [0,1].

    Float pixels are rounded to 8 bits first, so that a decoded tensor and the PNG it is saved as
    get the same score. Each image is resized alone, so that its score does not depend on its
    neighbours'.
    """
    resized = []
    for image in images:
        image = image.detach().to(device)
        if image.dtype == torch.uint8:
            unit = to_unit(image)
        else:
            unit = (image.float().clamp(0, 1) * 255).round() / 255
        resized.append(to_model_pixels(unit, size_px)[0])
    return torch.stack(resized)
