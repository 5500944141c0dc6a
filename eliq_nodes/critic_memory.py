"""What a critic's weights and batches take in memory, and less of it. Nothing of ComfyUI.

Shapes: h hidden size of the language model.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from ..eliq.errors import ImageError

__all__ = ["bytes_of_tokens", "keep_answer_rows", "module_bytes", "num_tokens"]

_SLACK = 1.5  # over the tensors counted below: kernels' workspaces, fragmentation


def module_bytes(module: nn.Module) -> int:
    """Bytes of all weights and buffers; a shared one counts once."""
    tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def num_tokens(backbone: Any, sizes: Iterable[tuple[int, int]]) -> int:
    """Tokens of the largest image among those of ``sizes`` (height, width), at least one.

    A size that cannot be scored counts nothing: scoring says what is wrong with it.
    """
    largest = 1
    for height, width in sizes:
        try:
            largest = max(largest, backbone.num_tokens(height, width))
        except ImageError:
            continue
    return largest


def bytes_of_tokens(backbone: Any, tokens: int) -> int:
    """Estimate of the memory beside the weights that one batch takes, without gradients.

    Counted where the two towers are widest: in one of their layers, with its input, queries, keys,
    values, and the two halves of the gated unit; and the resized pixels in float32.

    Args:
        backbone: an `eliq` Backbone.
        tokens: of all images of the batch.
    """
    patches = tokens * backbone.patches.merge**2
    config = backbone.model.config
    text, vision = config.text_config, config.vision_config
    of_token = 8 * text.hidden_size + 3 * getattr(text, "intermediate_size", 4 * text.hidden_size)
    of_patch = 8 * vision.hidden_size + 3 * vision.intermediate_size
    pixels = tokens * backbone.patches.factor_px**2
    widest = max(tokens * of_token, patches * of_patch) * backbone.dtype.itemsize
    return int(_SLACK * (widest + pixels * 3 * 4 * 4))


def keep_answer_rows(backbone: Any) -> None:
    """Cut the language-model head [V,h] down to the two rows that a critic reads, low and high.

    The rest is more than 1 GB of an 8B model. Where the head shares its weights with the embedding,
    as in a 4B one, a manager that moves weights one by one would load them twice.
    """
    layout, old = backbone.layout, backbone.model.lm_head.weight
    if old.shape[0] == 2:
        return
    rows = old.detach()[[layout.low_id, layout.high_id]].clone()
    small = nn.Linear(rows.shape[1], 2, bias=False, device=rows.device, dtype=rows.dtype)
    small.weight = nn.Parameter(rows, requires_grad=False)
    backbone.model.lm_head = small
    layout.low_id, layout.high_id = 0, 1
