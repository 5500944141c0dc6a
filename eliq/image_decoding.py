"""Files and PIL images to RGB float pixels, exactly and without trust in the file.

Pillow decodes. What it does silently and wrongly for our purpose is done here instead: 16-bit
grey is rescaled rather than clipped, transparency is put on white, a rotation in the metadata is
applied, the size is checked before the pixels are read, and a file cut short is an error even
where another library has switched Pillow's tolerance on.
"""

from __future__ import annotations

import logging
import os
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from .image_checks import RejectedImage

__all__ = ["FORMATS", "decode_file", "decode_pil", "decode_stream", "open_file", "to_unit"]

# A closed list: Pillow knows formats that start other programs (EPS) or that match nearly any
# bytes (TGA).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")

# Damaged files make Pillow raise nearly anything, so the list is long; it guards the decoding
# alone, and what was raised goes to the log at the level DEBUG.
DECODER_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)

_STRIP_PX = 1 << 20

_log = logging.getLogger("eliq")

_ORIENTATION = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

CheckSize = Callable[[int, int], None]  # (height, width); raises RejectedImage


def decode_file(path: str | os.PathLike[str], check_size: CheckSize) -> tuple[Tensor, list[str]]:
    """The picture in a file as RGB [3,H,W] on the CPU, and its flags.

    uint8 as it was stored; float32 in [0,1] where it had more bits, or transparency.
    ``check_size`` is asked with the header's height and width before anything is decoded.

    Raises:
        RejectedImage: the file cannot be read, or holds no picture that can be scored.
    """
    with open_file(path) as stream:
        return decode_stream(stream, check_size)


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """A regular file that is not empty, open for reading.

    Raises:
        RejectedImage: there is none of that name, or it cannot be opened.
    """
    name = os.fsdecode(path)
    try:
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise RejectedImage("not_a_file", f"expected an image file, found {kind}")
        if status.st_size == 0:
            raise RejectedImage("empty_file", "the file is empty (0 bytes)")
        return Path(name).open("rb")
    except FileNotFoundError:
        hint = "; URLs are not downloaded" if "://" in name else ""
        raise RejectedImage("missing_file", f"no such file{hint}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or "not a valid file name"
        raise RejectedImage("unreadable_file", f"the file cannot be opened: {reason}") from None


def decode_stream(stream: BinaryIO, check_size: CheckSize) -> tuple[Tensor, list[str]]:
    """As `decode_file`, of an open file or of bytes in an ``io.BytesIO``."""
    with _strict_pillow():
        try:
            image = Image.open(stream, formats=_available_formats())
        except UnidentifiedImageError:
            raise RejectedImage(
                "not_an_image",
                f"not an image, or its header is damaged; expected {', '.join(FORMATS)}",
            ) from None
        except Image.DecompressionBombError:
            raise RejectedImage("too_many_pixels", "more pixels than Pillow will open") from None
        except DECODER_FAILURES as error:
            raise _damaged(error) from None
        with image:
            return _decode(image, check_size, is_ours=True)


def decode_pil(image: Image.Image, check_size: CheckSize) -> tuple[Tensor, list[str]]:
    """As `decode_file`, of an image that Pillow has opened already; it is not changed."""
    with _strict_pillow():
        return _decode(image, check_size, is_ours=False)


def _decode(
    image: Image.Image, check_size: CheckSize, *, is_ours: bool
) -> tuple[Tensor, list[str]]:
    flags: list[str] = []
    try:
        check_size(image.height, image.width)
        if image.mode == "F":
            raise RejectedImage(
                "float_image",
                "a floating-point image has no known white; convert it to 8 or 16 bits",
                flags=("float_image_rejected",),
            )
        if _is_first_of_many(image, is_ours=is_ours):
            flags.append("first_frame_only")
        check_size(image.height, image.width)  # a GIF's first frame may outgrow its header
        bits = _stored_bits(image)
        # A TIFF is turned while it loads and forgets that it was: ask before, too.
        turned = image.format == "TIFF" and _orientation(image) in _TRANSPOSES
        image.load()
        check_size(image.height, image.width)
        orientation = _orientation(image)
        if orientation is None:
            flags.append("exif_unreadable")
        elif orientation in _TRANSPOSES:
            image = image.transpose(_TRANSPOSES[orientation])
            turned = True
        if turned:
            flags.append("exif_rotated")
        pixels = _to_rgb(image, bits, flags)
    except RejectedImage:
        raise
    except MemoryError:
        raise RejectedImage("out_of_memory", "not enough memory to decode the image") from None
    except Image.DecompressionBombError:
        raise RejectedImage("too_many_pixels", "more pixels than Pillow will decode") from None
    except DECODER_FAILURES as error:
        raise _damaged(error) from None
    return pixels, flags


def _to_rgb(image: Image.Image, bits: int, flags: list[str]) -> Tensor:
    """A decoded image in any mode -> uint8 [3,H,W], or float32 in [0,1]; adds to ``flags``."""
    if image.mode.startswith("I"):
        return _from_deep_grey(image, bits, flags)
    if bits > 8:  # colour: Pillow has kept the upper byte of each value
        flags.append("rescaled_16bit")
    if image.mode == "CMYK":
        flags.append("cmyk_converted")
    # A transparent colour in 16 bits cannot be looked for among the upper bytes.
    is_keyed_deep = bits > 8 and image.mode == "RGB"
    if image.has_transparency_data and not is_keyed_deep:
        stored = _channels(_convert(image, "RGBA"))
        if bool((stored[3] < 255).any()):
            flags.append("alpha_composited")
            return _on_white(stored)
        return stored[:3]
    return _channels(_convert(image, "RGB"))


def _on_white(stored: Tensor) -> Tensor:
    """uint8 RGBA [4,H,W] -> float32 RGB [3,H,W] on white; by strips, or 64 Mpx would take 3 GB."""
    on_white = torch.empty((3, *stored.shape[1:]))
    rows = max(1, _STRIP_PX // stored.shape[2])
    for strip, target in zip(stored.split(rows, dim=1), on_white.split(rows, dim=1), strict=True):
        rgba = to_unit(strip)
        alpha = rgba[3:]
        target.copy_(rgba[:3] * alpha + (1 - alpha))
    return on_white


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "La":  # premultiplied grey converts to nothing else
        image = image.convert("LA")
    try:
        return image if image.mode == mode else image.convert(mode)
    except (ImportError, ValueError):  # ImportError: LAB where Pillow lacks its colour library
        raise RejectedImage(
            "unsupported_mode", f"mode {image.mode} has no conversion to {mode}; convert it first"
        ) from None


def _channels(image: Image.Image) -> Tensor:
    """8 bits a channel -> uint8 [C,H,W], the channels still interleaved in memory."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_unit(stored: Tensor) -> Tensor:
    """uint8 [C,H,W] -> float32 [C,H,W] in [0,1], contiguous, each value v exactly v / 255."""
    # Three times as fast as .contiguous().float(): one pass, and one allocation
    unit = torch.empty(stored.shape, dtype=torch.float32, device=stored.device)
    return unit.copy_(stored).div_(255)


def _from_deep_grey(image: Image.Image, bits: int, flags: list[str]) -> Tensor:
    """Modes I;16 and I: grey of 16 bits, or what Pillow keeps in 32 -> float32 [3,H,W]."""
    values = np.array(image).astype(np.int32)
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > 65_535:
        raise RejectedImage(
            "unsupported_mode",
            f"mode {image.mode} with values {lowest} to {highest} has no known white; "
            "convert it to 8 or 16 bits",
        )
    white = 4095 if bits == 12 else 65_535
    if image.mode == "I" and image.format is None and highest <= 255:
        white = 255  # convert("I") of an 8-bit image keeps its values
    else:
        flags.append("rescaled_16bit")
    grey = torch.from_numpy(values.astype(np.float32)).div_(white).clamp_(max=1)
    key = image.info.get("transparency")
    if isinstance(key, int) and bool((values == key).any()):
        flags.append("alpha_composited")
        grey[torch.from_numpy(values == key)] = 1.0
    return grey.expand(3, -1, -1).contiguous()


def _stored_bits(image: Image.Image) -> int:
    """Bits a channel in the file, as far as an image that is not decoded yet tells."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3]
        raw_mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        # BGR;16 counts the bits of a whole pixel
        if isinstance(raw_mode, str) and not raw_mode.startswith("BGR"):
            for bits in (16, 12):
                if f";{bits}" in raw_mode:
                    return bits
    return 16 if image.mode.startswith("I;16") else 8


def _orientation(image: Image.Image) -> int | None:
    """The rotation that the metadata asks for, 1 for none; None where it cannot be read."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except DECODER_FAILURES as error:
        _log.debug("unreadable EXIF data: %r", error)
        return None


def _is_first_of_many(image: Image.Image, *, is_ours: bool) -> bool:
    """Whether this is the first of several frames; of a later one the caller made a choice."""
    if is_ours:
        return bool(getattr(image, "is_animated", False))
    # A GIF looks for a second frame in its file, which an image loaded before has closed.
    if not getattr(image, "tile", None) and getattr(image, "fp", None) is None:
        return False
    try:
        return bool(getattr(image, "is_animated", False)) and image.tell() == 0
    except DECODER_FAILURES as error:
        _log.debug("no frame count: %r", error)
        return False


def _damaged(error: Exception) -> RejectedImage:
    _log.debug("damaged image", exc_info=error)
    return RejectedImage("damaged_image", "the image is damaged or cut short")


def _available_formats() -> tuple[str, ...]:
    Image.init()  # does nothing from the second call on
    return tuple(name for name in FORMATS if name in Image.OPEN)


_strict_lock = threading.Lock()
_strict_depth = 0
_strict_undo: list[Callable[[], None]] = []


@contextmanager
def _strict_pillow() -> Iterator[None]:
    """Files cut short are errors, and Pillow's warnings stay inside, in any number of threads.

    Both settings are global in Python and in Pillow, so they are changed by the first thread that
    enters, and put back by the last one that leaves.
    """
    global _strict_depth
    with _strict_lock:
        if _strict_depth == 0:
            tolerance = ImageFile.LOAD_TRUNCATED_IMAGES
            quiet = warnings.catch_warnings()
            quiet.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\b")
            ImageFile.LOAD_TRUNCATED_IMAGES = False

            def undo() -> None:
                ImageFile.LOAD_TRUNCATED_IMAGES = tolerance
                quiet.__exit__(None, None, None)

            _strict_undo.append(undo)
        _strict_depth += 1
    try:
        yield
    finally:
        with _strict_lock:
            _strict_depth -= 1
            if _strict_depth == 0:
                _strict_undo.pop()()
