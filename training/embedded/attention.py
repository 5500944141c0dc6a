"""Attention as plain matrix products, for training on a CPU.

The CPU kernel behind scaled_dot_product_attention has a slow backward pass for short rows; two
matrix products in bfloat16 train about a third faster. Scoring stays on sdpa.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["use_matmul_attention"]

_NAME = "eliq_matmul"


def _attend(
    module: nn.Module,
    query: Tensor,  # [B,H,L,D]
    key: Tensor,  # [B,G,L,D], each of G heads serves H/G queries
    value: Tensor,
    attention_mask: Tensor | None,  # bool [B,1,L,L], True = may see
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    batch, heads, length, width = query.shape
    groups = key.shape[1]
    stacked = (query * scaling).reshape(batch, groups, -1, width)
    logits = torch.matmul(stacked, key.transpose(-1, -2))
    if attention_mask is not None:
        shaped = logits.view(batch, groups, heads // groups, length, length)
        logits = shaped.masked_fill(~attention_mask[:, None], -1e4).view_as(logits)
    out = torch.matmul(torch.softmax(logits, dim=-1).to(value.dtype), value)
    return out.view(batch, heads, length, width).transpose(1, 2).contiguous(), None


def use_matmul_attention(model: nn.Module) -> None:
    """Switch a transformers model to this attention until ``set_attn_implementation("sdpa")``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
