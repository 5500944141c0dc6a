"""The strip of scored images as a file in ComfyUI's temp folder, for its page to show."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import folder_paths
from torch import Tensor

from .score_table import ScoreTable
from .strip import draw_strip

__all__ = ["save_strip"]


def save_strip(images: Sequence[Tensor], table: ScoreTable) -> list[dict[str, str]]:
    """Draw the images [3,H,W] with their scores; gives the file's place as the page wants it."""
    if not images:
        return []
    strip = draw_strip(images, table.visual_quality, table.alignment, table.errors)
    prefix = f"eliq_scores_{secrets.token_hex(3)}"  # `random` is left to other nodes
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        prefix, folder_paths.get_temp_directory(), strip.width, strip.height
    )
    file_name = f"{name}_{counter:05}_.png"
    strip.save(Path(folder, file_name), compress_level=1)
    return [{"filename": file_name, "subfolder": subfolder, "type": "temp"}]
