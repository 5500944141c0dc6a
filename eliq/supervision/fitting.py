"""Generated negatives made to match their positive: same size, same history of compression.

A negative that another generator made at another size, or that was never a JPEG where its positive
was, would give itself away by the file. Shapes: an image is uint8 [H,W,3] RGB.
"""

from __future__ import annotations

import io
import os

import numpy as np
from PIL import Image, JpegImagePlugin

__all__ = ["JpegHistory", "fit_to", "jpeg_history"]


class JpegHistory:
    """The quantisation tables and chroma subsampling of a JPEG file, to apply to other images."""

    def __init__(self, tables: dict[int, list[int]], subsampling: int) -> None:
        self.tables = tables
        self.subsampling = subsampling

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The image after a JPEG round trip with these tables, same shape."""
        buffer = io.BytesIO()
        Image.fromarray(image).save(
            buffer, "JPEG", qtables=self.tables, subsampling=self.subsampling
        )
        return np.asarray(Image.open(buffer).convert("RGB"))


def jpeg_history(path: str | os.PathLike[str]) -> JpegHistory | None:
    """How a picture was compressed, if it is a JPEG in colour; None for anything else."""
    with Image.open(path) as image:
        if image.format != "JPEG" or image.mode != "RGB":
            return None
        # -1 stands for a subsampling that Pillow has no name for: the usual 4:2:0 then.
        subsampling = JpegImagePlugin.get_sampling(image)
        return JpegHistory(dict(image.quantization), subsampling if subsampling >= 0 else 2)


def fit_to(image: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """The middle of an image in another shape, reduced to [height,width,3].

    Returns:
        None where it would have to be enlarged: the softness of that would tell it apart.
    """
    rows, columns = image.shape[:2]
    scale = max(height / rows, width / columns)
    if scale > 1:
        return None
    cut_rows, cut_columns = height / scale, width / scale
    top, left = (rows - cut_rows) / 2, (columns - cut_columns) / 2
    box = (left, top, left + cut_columns, top + cut_rows)
    if (rows, columns) == (height, width):
        return image
    reduced = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(reduced)
