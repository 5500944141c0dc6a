"""Anything a user calls an image -> RGB float in [0, 1], with flags.

Paths, PIL images and tensors go in; pixels that can be scored come out, or one line that says
why not. Tensors stay on the device they lie on and are never written to.

Shapes: B images, H and W in pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import ImageError
from .image_checks import (
    ERROR_CLASSES,
    IMAGE_FLAGS,
    MAX_ASPECT_RATIO,
    MAX_IMAGE_PX,
    RejectedImage,
    check_limits,
    check_range,
    check_size,
    check_tensor,
)
from .image_decoding import decode_file, decode_pil, to_unit

__all__ = [
    "ERROR_CLASSES",
    "IMAGE_FLAGS",
    "LoadedImage",
    "check_source",
    "describe_source",
    "load_image",
    "load_images",
]


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """One image ready to be scored, or the reason why it is not.

    Attributes:
        stored: RGB [3,H,W] on the device the input was on: uint8 where the image has 8 bits a
            channel, else float32 in [0,1]; None on failure. It may share memory with the tensor
            that was given: do not write to it.
        flags: some of `IMAGE_FLAGS`.
        error: one line, None on success.
        error_class: one of `ERROR_CLASSES`, None on success.
    """

    stored: Tensor | None
    flags: tuple[str, ...] = ()
    error: str | None = None
    error_class: str | None = None

    @cached_property
    def pixels(self) -> Tensor | None:
        """float32 [3,H,W], RGB in [0,1], each 8-bit value v exactly v / 255; None on failure."""
        if self.stored is None or self.stored.dtype == torch.float32:
            return self.stored
        return to_unit(self.stored)


def load_image(
    source: str | os.PathLike[str] | Image.Image | Tensor,
    *,
    max_image_px: int = MAX_IMAGE_PX,
    max_aspect_ratio: float = MAX_ASPECT_RATIO,
) -> LoadedImage:
    """One image from a path, a PIL image or a float tensor [3,H,W] in [0,1].

    A file that is missing or damaged, a size outside the limits, NaN or infinite values: none of
    these raises, they come back as a failure. Transparency is composited on white; of several
    frames the first is taken; a rotation in the metadata is applied.

    Args:
        max_image_px: more pixels are refused, for files before they are decoded.
        max_aspect_ratio: a longer side of more than this many shorter ones is refused.

    Raises:
        ImageError: a type, shape or range that no image has: a mistake in the calling program.
    """
    check_limits(max_image_px, max_aspect_ratio)
    check_source(source)
    fits = partial(check_size, max_image_px=max_image_px, max_aspect_ratio=max_aspect_ratio)
    if isinstance(source, Tensor):
        if source.ndim == 4:
            raise ImageError(
                f"load_image: expected one image [3,H,W], found a batch {list(source.shape)}; "
                "use load_images"
            )
        return _load_tensors(source.unsqueeze(0), fits)[0]
    decode = decode_pil if isinstance(source, Image.Image) else decode_file
    try:
        stored, flags = decode(source, fits)
    except RejectedImage as reason:
        return _failure(reason)
    if _is_constant(stored):
        flags.append("constant_image")
    return LoadedImage(stored, tuple(flags))


def load_images(
    sources: Any,
    *,
    max_image_px: int = MAX_IMAGE_PX,
    max_aspect_ratio: float = MAX_ASPECT_RATIO,
) -> list[LoadedImage]:
    """As `load_image`, of a list or tuple of sources, a batch [B,3,H,W], or a single source.

    The result has one entry an image, in order; a batch inside a list counts as B images.

    Raises:
        ImageError: as `load_image`; names the position in the list.
    """
    check_limits(max_image_px, max_aspect_ratio)
    fits = partial(check_size, max_image_px=max_image_px, max_aspect_ratio=max_aspect_ratio)
    limits = {"max_image_px": max_image_px, "max_aspect_ratio": max_aspect_ratio}
    if isinstance(sources, Tensor) and sources.ndim == 4:
        check_tensor(sources)
        return _load_tensors(sources, fits)
    if not isinstance(sources, (list, tuple)):
        return [load_image(sources, **limits)]
    loaded: list[LoadedImage] = []
    for position, source in enumerate(sources):
        if isinstance(source, (list, tuple)):
            raise ImageError(f"images[{position}]: expected an image, found a list inside a list")
        try:
            loaded += load_images(source, **limits)
        except ImageError as error:
            raise ImageError(f"images[{position}]: {error}") from None
    return loaded


def check_source(source: Any) -> None:
    """Refuse what no image is, from its type, and a tensor's shape, alone: nothing is decoded.

    Raises:
        ImageError: neither a path, a PIL image, nor a float tensor [3,H,W] or [B,3,H,W].
    """
    if isinstance(source, Tensor):
        check_tensor(source)
    elif not isinstance(source, (str, os.PathLike, Image.Image)):
        raise _wrong_type(source)


def describe_source(source: Any) -> str:
    """A source in one printable line, for messages and tables: a path stays as it is."""
    if isinstance(source, (str, os.PathLike)):
        text = os.fsdecode(os.fspath(source))
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    if isinstance(source, Image.Image):
        return f"PIL image {source.mode} {source.width}x{source.height}"
    if isinstance(source, Tensor):
        dtype = str(source.dtype).removeprefix("torch.")
        return f"tensor {dtype} {list(source.shape)} on {source.device}"
    return type(source).__name__


def _load_tensors(batch: Tensor, fits: partial[None]) -> list[LoadedImage]:
    """Checked float [B,3,H,W] -> one result an image, with a single wait for the device."""
    if not len(batch):
        return []
    try:
        fits(batch.shape[2], batch.shape[3])
    except RejectedImage as reason:
        return [_failure(reason)] * len(batch)
    pixels = batch.detach().float()  # no copy where it is float32 already
    flat = pixels.flatten(2)
    # [2,B,3]; NaN and infinities come through, so that one pass tells range, NaN and constancy
    extremes = torch.stack((flat.amin(dim=2), flat.amax(dim=2))).cpu()
    lowest, highest = extremes[0], extremes[1]
    finite = extremes.isfinite().all(dim=2).all(dim=0)
    if finite.any():
        smallest, largest = lowest[finite].min().item(), highest[finite].max().item()
        check_range(smallest, largest)
        if smallest < 0 or largest > 1:  # within the tolerance: overshoot of a decoder
            pixels = pixels.clamp(0, 1)
    constant = (lowest == highest).all(dim=1).tolist()
    return [
        LoadedImage(pixels[row], ("constant_image",) if constant[row] else ())
        if finite[row]
        else _failure(
            RejectedImage(
                "nonfinite_input",
                "the tensor has NaN or infinite values",
                flags=("nonfinite_input",),
            )
        )
        for row in range(len(batch))
    ]


def _is_constant(stored: Tensor) -> bool:
    flat = stored.flatten(1)
    # The first pixels settle it for nearly every picture.
    return all(bool((part == flat[:, :1]).all()) for part in (flat[:, :1024], flat))


def _failure(reason: RejectedImage) -> LoadedImage:
    return LoadedImage(None, reason.flags, str(reason), reason.error_class)


def _wrong_type(source: Any) -> ImageError:
    found = f"expected a path, a PIL image or a tensor, found {type(source).__name__}"
    if isinstance(source, np.ndarray):
        return ImageError(
            f"{found}; use PIL.Image.fromarray(array) for uint8 [H,W,3], or "
            "torch.from_numpy(array).permute(2, 0, 1) for float [H,W,3] in [0,1]"
        )
    if isinstance(source, (bytes, bytearray)) or hasattr(source, "read"):
        return ImageError(f"{found}; open it with PIL.Image.open, bytes in an io.BytesIO")
    return ImageError(found)
