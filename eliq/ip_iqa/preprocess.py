"""Images of any size to the square that the visual tower reads.

The published model squashes to 512 x 512 with an antialiased bicubic filter: nothing is cropped
away, the aspect ratio is lost. Normalisation is inside the model.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..errors import ImageError

__all__ = ["to_model_pixels"]


def to_model_pixels(images: Tensor, size_px: int) -> Tensor:
    """RGB float [3,H,W] or [B,3,H,W] in 0..1 to float32 [B,3,size_px,size_px] in 0..1.

    The filter overshoots at edges, hence the clamp; an image of the right size is left as it is.

    Raises:
        ImageError: not such a tensor.
    """
    if images.ndim == 3:
        images = images[None]
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ImageError(
            f"expected float RGB [3,H,W] or [B,3,H,W] in 0..1, found "
            f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        )
    images = images.float()
    if images.shape[2:] == (size_px, size_px):
        return images
    resized = F.interpolate(
        images, size=(size_px, size_px), mode="bicubic", antialias=True, align_corners=False
    )
    return resized.clamp(0.0, 1.0)
