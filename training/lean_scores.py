"""The scores that the losses of stage 2 need, and no others, at less cost than whole passes.

A step asks the head for s_vis of three images a tuple and for s_ali of I+ with two prompts. Whole
passes (`head_scores.score_rows`) would fuse the visual embeddings of I+ once more for every prompt,
and carry all three tokens through the last layer of the QQT where one is read. Left out, that is
about a third of the work; what is computed is the same (a test compares values and gradients).

Shapes: B tuples or ladders, I images, h hidden size, d model size.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from eliq.head import QualityQueryTransformer, ScoringHead

__all__ = ["lean_alignment", "lean_fusion", "lean_visual"]

_VISUAL, _ALIGNMENT = 1, 2  # places of the queries among the tokens (Eq. 13)


def lean_fusion(head: ScoringHead, technical: Tensor, aesthetic: Tensor) -> Tensor:
    """z_vis (Eqs. 9-11) of embeddings [B,I,h] -> [B,I,h]."""
    return head.fusion(head.norm(technical), head.norm(aesthetic))


def lean_visual(head: ScoringHead, z_vis: Tensor, alignment: Tensor) -> Tensor:
    """s_vis [B,I] of z_vis [B,I,h] beside z_ali [B,I,h]."""
    z_ali = head.norm(alignment)
    if head.config.mask_visual_query:
        z_ali = torch.zeros_like(z_ali)
    return head.qqt.score_visual(_encoded(head, z_vis, z_ali, _VISUAL)).squeeze(-1)


def lean_alignment(head: ScoringHead, z_vis: Tensor, alignment: Tensor) -> Tensor:
    """s_ali [B,I] of z_vis [B,I,h] beside z_ali [B,I,h]."""
    encoded = _encoded(head, z_vis, head.norm(alignment), _ALIGNMENT)
    return head.qqt.score_alignment(encoded).squeeze(-1)


def _encoded(head: ScoringHead, z_vis: Tensor, z_ali: Tensor, token: int) -> Tensor:
    """One encoded token [B,I,d] (Eqs. 12-14)."""
    content = torch.cat([z_vis, z_ali], dim=-1)
    rows, qqt = content.flatten(0, 1), head.qqt
    if type(qqt) is not QualityQueryTransformer:  # an ablation's
        return qqt(rows)[:, token].unflatten(0, content.shape[:2])
    queries = qqt.project(torch.stack([qqt.query_visual, qqt.query_alignment]))
    tokens = torch.cat(
        [qqt.project(rows)[:, None], queries.expand(len(rows), -1, -1)], dim=1
    )  # [B*I,3,d]
    x = tokens + qqt.position
    *layers, last = qqt.encoder.layers
    for layer in layers:
        x = layer(x)
    y = last.norm1(x)
    read = slice(token, token + 1)
    x = x[:, read] + last.self_attn(y[:, read], y, y, need_weights=False)[0]
    x = x + last.linear2(F.gelu(last.linear1(last.norm2(x))))
    return qqt.encoder.norm(x).squeeze(1).unflatten(0, content.shape[:2])
