"""What an image must be to be scored, and how a refusal is worded.

Two kinds of fault are kept apart. A file that is damaged, or pixels that cannot be judged, is
data: one failed row, and the other images go on (`RejectedImage`, which never leaves the
library). A tensor of a wrong type, shape or range is a mistake in the calling program:
`eliq.errors.ImageError`, at once, for the whole call.

Shapes: B images, H and W in pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import ImageError

__all__ = [
    "ERROR_CLASSES",
    "IMAGE_FLAGS",
    "MAX_ASPECT_RATIO",
    "MAX_IMAGE_PX",
    "MIN_SIDE_PX",
    "RejectedImage",
    "check_limits",
    "check_range",
    "check_size",
    "check_tensor",
]

MAX_IMAGE_PX = 64_000_000
MAX_ASPECT_RATIO = 200
MIN_SIDE_PX = 8  # below it there is nothing to judge: the resizer would invent nearly every pixel
RANGE_TOLERANCE = 1e-3  # what a decoder that works in half precision overshoots by

ERROR_CLASSES = frozenset(
    {
        "missing_file",
        "not_a_file",
        "unreadable_file",
        "empty_file",
        "not_an_image",
        "damaged_image",
        "too_many_pixels",
        "too_small",
        "extreme_aspect_ratio",
        "float_image",
        "unsupported_mode",
        "nonfinite_input",
        "nonfinite_score",  # the critic's answer, not the image
        "out_of_memory",
    }
)

IMAGE_FLAGS = frozenset(
    {
        "alpha_composited",  # some transparency: shown on white, as most viewers do
        "cmyk_converted",
        "constant_image",  # one colour everywhere; scored nevertheless
        "exif_rotated",
        "exif_unreadable",  # a possible rotation could not be read; the pixels are as stored
        "first_frame_only",
        "float_image_rejected",
        "nonfinite_input",
        "rescaled_16bit",  # more than 8 bits a channel were stored
    }
)


class RejectedImage(ImageError):
    """An image that cannot be scored; it becomes a failed row and never reaches the user.

    Args:
        error_class: one of `ERROR_CLASSES`.
        message: one line, in our words. A decoder's own text may carry what the file says.
        flags: some of `IMAGE_FLAGS`.
    """

    def __init__(self, error_class: str, message: str, *, flags: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.flags = flags


def check_limits(max_image_px: int, max_aspect_ratio: float) -> None:
    """Refuse limits that would refuse everything.

    Raises:
        ImageError: a limit that is not a positive number.
    """
    if not max_image_px > 0:
        raise ImageError(f"max_image_px: expected a positive number, found {max_image_px}")
    if not max_aspect_ratio >= 1:
        raise ImageError(f"max_aspect_ratio: expected 1 or more, found {max_aspect_ratio}")


def check_size(height: int, width: int, *, max_image_px: int, max_aspect_ratio: float) -> None:
    """Refuse an image from its size alone, before a pixel of it is decoded.

    Raises:
        RejectedImage: too many pixels, too few, or a shape that no resizing keeps.
    """
    size = f"{width}x{height} px"
    if height * width > max_image_px:
        raise RejectedImage(
            "too_many_pixels",
            f"{size} is more than the limit of {max_image_px} pixels; "
            "make it smaller or raise max_image_px",
        )
    if min(height, width) < 1:
        raise RejectedImage("too_small", f"{size} has no pixels")
    if max(height, width) > max_aspect_ratio * min(height, width):
        raise RejectedImage(
            "extreme_aspect_ratio",
            f"{size}: the longer side is more than {max_aspect_ratio:g} times the shorter; crop it",
        )
    if min(height, width) < MIN_SIDE_PX:
        raise RejectedImage(
            "too_small", f"{size} is too small to judge; expected {MIN_SIDE_PX} px a side or more"
        )


def check_tensor(tensor: Tensor) -> None:
    """Refuse a tensor that is not float [3,H,W] or [B,3,H,W]; its values are not read.

    Raises:
        ImageError: a wrong type, shape or layout; the message says what to write instead.
    """
    found = f"found {_dtype_name(tensor)} {list(tensor.shape)}"
    expected = "image tensor: expected float [3,H,W] or [B,3,H,W] in [0,1]"
    if tensor.layout != torch.strided:
        raise ImageError(f"{expected}, found a sparse one; call .to_dense() on it")
    if tensor.ndim not in (3, 4):
        raise ImageError(f"{expected}, {found}")
    channels_first, channels_last = tensor.shape[-3], tensor.shape[-1]
    if channels_first != 3 and channels_last == 3:
        order = "2, 0, 1" if tensor.ndim == 3 else "0, 3, 1, 2"
        raise ImageError(
            f"{expected}, {found}, which has its channels last; call .permute({order}) on it"
        )
    if channels_first != 3:
        hints = {
            1: "; repeat the grey channel: .repeat_interleave(3, dim=-3)",
            4: "; put it on a background and give its three colour channels",
        }
        raise ImageError(
            f"{expected}, {found} ({channels_first} channels)" + hints.get(channels_first, "")
        )
    if not tensor.is_floating_point():
        hint = "; divide it by 255: tensor.float() / 255" if tensor.dtype == torch.uint8 else ""
        raise ImageError(f"{expected}, {found}{hint}")


def check_range(lowest: float, highest: float) -> None:
    """Refuse values outside [0, 1], with a tolerance of 1e-3.

    Raises:
        ImageError: names the smallest and the largest value found.
    """
    if lowest >= -RANGE_TOLERANCE and highest <= 1 + RANGE_TOLERANCE:
        return
    hint = "clamp it if that is overshoot"
    if lowest >= 0 and highest > 2:
        hint = "divide it by 255 if it holds 0..255"
    elif -1 - RANGE_TOLERANCE <= lowest < -0.1 and highest <= 1 + RANGE_TOLERANCE:
        hint = "use (tensor + 1) / 2 if it holds -1..1"
    raise ImageError(
        f"image tensor: expected values in [0, 1], found {lowest:.4g} to {highest:.4g}; {hint}"
    )


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
