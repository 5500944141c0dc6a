"""The sizes of a batch's images, as the vision tower of the installed transformers takes them.

Shapes: B images.
"""

from __future__ import annotations

import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["grid_arguments"]


def grid_arguments(model: nn.Module, grid_thw: Tensor, device: torch.device) -> dict[str, Tensor]:
    """Keyword arguments of ``model`` (a Qwen3-VL without its language-model head) for its images.

    The tower's sdpa attention reads the borders between images in every layer, and would wait for
    an accelerator each time. A transformers that takes them ready made (5.x) gets them on the CPU.

    Args:
        grid_thw: int64 [B,3], frames (1), patch rows, patch columns.
        device: where the weights lie.
    """
    arguments = {"image_grid_thw": grid_thw.to(device)}
    module = sys.modules[type(model).__module__]
    # The decorator that hands the borders to the tower, and the function in it that takes them.
    names = ("accepts_precomputed_kwargs", "get_vision_attention_seqlens")
    is_split = model.visual.config._attn_implementation in ("sdpa", "eager")
    if is_split and all(hasattr(module, name) for name in names):
        borders = F.pad(grid_thw.cpu().prod(-1).cumsum(0), (1, 0))
        arguments["image_cu_seqlens"] = borders.int()
    return arguments
