"""What is written for a scored image: a PNG, its text, and a line beside it. Nothing of ComfyUI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

__all__ = ["append_line", "png_text", "to_pil"]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def to_pil(image: Tensor) -> Image.Image:
    """One image of an IMAGE batch [H,W,C], float 0..1, C = 1, 3 or 4.

    Rounded, not cut off: an image that was loaded from a PNG is saved as the same bytes again.

    Raises:
        ValueError: another shape.
    """
    if image.ndim != 3 or image.shape[-1] not in _MODES:
        raise ValueError(
            f"images: expected [H,W,C] with 1, 3 or 4 channels, found {list(image.shape)}"
        )
    finite = torch.nan_to_num(image.detach().to("cpu", torch.float32), nan=0.0)
    pixels = (finite.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).numpy()
    return Image.fromarray(pixels[..., 0] if image.shape[-1] == 1 else pixels)


def png_text(record: Mapping[str, Any], more: Mapping[str, Any]) -> PngInfo:
    """PNG text: ``eliq`` = the record as JSON, and ``more`` (ComfyUI's prompt and workflow)."""
    text = PngInfo()
    for name, value in {**more, "eliq": record}.items():
        text.add_text(name, json.dumps(value))  # ASCII, which every reader of PNG text can show
    return text


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Append the record as one line of JSON, UTF-8, after what is there already.

    A last line that was cut off, by a full disk for example, is ended first: it stays one bad
    line and spoils no other.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    # Half a surrogate pair, which a prompt may hold, has no UTF-8: escaped as JSON would.
    data = line.encode("utf-8", "backslashreplace")
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                data = b"\n" + data
        file.write(data)
