"""Images of a pipeline: one tensor to score, PIL to hand out, a file to keep.

Shapes: B images [B,3,H,W], float in [0,1].
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..errors import DiffusionError
from ..images import load_images

__all__ = ["png_bytes", "save_image", "to_batch", "to_pil"]


def to_batch(images: Any, num_images: int) -> Tensor:
    """What a pipeline returned -> float tensor [B,3,H,W], on the device it lies on.

    Args:
        images: tensor [B,3,H,W] in [0,1] (``output_type="pt"``), or a list of PIL images from a
            pipeline that gives nothing else.
        num_images: B, as many as were asked for.

    Raises:
        DiffusionError: something else, or another number of images.
    """
    if isinstance(images, (list, tuple)) and images:
        if all(isinstance(image, Tensor) and image.ndim == 3 for image in images):
            images = torch.stack(list(images))
        elif all(isinstance(image, Image.Image) for image in images):
            pixels = [loaded.pixels for loaded in load_images(list(images))]
            if any(one is None or one.shape != pixels[0].shape for one in pixels):
                raise DiffusionError("expected readable images of one size from the pipeline")
            images = torch.stack(pixels)
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3:
        found = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise DiffusionError(
            f"expected images [B,3,H,W] from the pipeline, found {found}: a text-to-image pipeline "
            "is needed here"
        )
    if len(images) != num_images:
        raise DiffusionError(
            f"expected {num_images} image{'' if num_images == 1 else 's'} from the pipeline, one a "
            f"generator, found {len(images)}"
        )
    return images.detach()


def to_pil(image: Tensor | Image.Image) -> Image.Image:
    """One image [3,H,W] as diffusers itself converts it; NaN becomes black."""
    if isinstance(image, Image.Image):
        return image
    pixels = image.detach().float().nan_to_num(0.0).clamp(0, 1)
    pixels = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    return Image.fromarray(pixels.cpu().numpy())


def png_bytes(image: Tensor | Image.Image, text: dict[str, str] | None = None) -> bytes:
    """The image as a PNG file, with texts in chunks of their own."""
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    to_pil(image).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def save_image(
    image: Tensor | Image.Image,
    path: str | os.PathLike[str],
    text: dict[str, str] | None = None,
) -> None:
    """Write a PNG file.

    Raises:
        OSError: the file cannot be written.
    """
    Path(path).write_bytes(png_bytes(image, text))
