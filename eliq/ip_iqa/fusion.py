"""Cross-modality attention pooling: the text vector asks the spatial map (Figure 2c of the paper).

CLIP's attention pooling with another query: the tokens are the map's cells and their mean, with a
position table of their own; keys and values come from them, the one query from the prompt's
vector. No residual and no norm, as in the released code. What it starts from: `pooling_start`.

Shapes: B rows, C channels, h x w cells, E = width of the text vector, N = h*w + 1 tokens, of which
the first is the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["CrossAttention", "CrossModalityAttentionPooling"]


class CrossAttention(NamedTuple):
    """Where the prompt looked.

    Attributes:
        map: [B,h,w], sums to 1 over the cells: the mean over heads, without the mean token.
        heads: [B,heads,N], the softmax itself; index 0 is the mean token.
        global_share: [B] in 0..1, what went to the mean token, the mean over heads.
    """

    map: Tensor
    heads: Tensor
    global_share: Tensor


class CrossModalityAttentionPooling(nn.Module):
    """Map [B,C,h,w] and text vector [B,E] to one vector [B,out_dim].

    Args:
        grid: h = w. map_dim: C. text_dim: E. inner_dim: of queries, keys and values.
        num_heads: a divisor of inner_dim.
    """

    def __init__(
        self,
        *,
        grid: int,
        map_dim: int,
        text_dim: int,
        inner_dim: int,
        out_dim: int,
        num_heads: int,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.position = nn.Parameter(torch.randn(grid * grid + 1, map_dim) * map_dim**-0.5)
        self.query = nn.Linear(text_dim, inner_dim)
        self.key = nn.Linear(map_dim, inner_dim)
        self.value = nn.Linear(map_dim, inner_dim)
        self.out = nn.Linear(inner_dim, out_dim)

    def forward(self, feature_map: Tensor, text: Tensor) -> Tensor:
        """The pooled vector [B,out_dim]."""
        tokens = self._tokens(feature_map)
        value = self._heads(self.value(tokens))  # [B,heads,N,d]
        pooled = self._weights(tokens, text).unsqueeze(2) @ value  # [B,heads,1,d]
        return self.out(pooled.flatten(1))

    def attention(self, feature_map: Tensor, text: Tensor) -> CrossAttention:
        """The weights of the very same pooling."""
        heads = self._weights(self._tokens(feature_map), text)
        mean = heads.mean(dim=1)
        cells = mean[:, 1:]
        cells = cells / cells.sum(dim=1, keepdim=True).clamp_min(torch.finfo(cells.dtype).tiny)
        return CrossAttention(cells.unflatten(1, feature_map.shape[2:]), heads, mean[:, 0])

    def _tokens(self, feature_map: Tensor) -> Tensor:
        cells = feature_map.flatten(2).transpose(1, 2)
        tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
        return tokens + self.position  # [B,N,C]

    def _weights(self, tokens: Tensor, text: Tensor) -> Tensor:
        query = self.query(text).unflatten(1, (self.num_heads, 1, -1))  # [B,heads,1,d]
        key = self._heads(self.key(tokens))
        logits = (query @ key.transpose(2, 3)).squeeze(2) * query.shape[-1] ** -0.5
        return logits.softmax(dim=-1)  # [B,heads,N]

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
