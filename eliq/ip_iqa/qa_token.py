"""The [QA] token: one trainable word in the vocabulary of a frozen text transformer.

The paper introduces "a novel special [QA] token" in the prompt's stream and says no more of its
place; its released code never inserts it. Here it is one learned vector right behind SOT, so that
it stands at the same position whatever the prompt, is cut by no truncation, and every word and
EOT can attend to it (attention is causal). The embedding table itself stays frozen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["QAEmbedding"]

_STD = 0.02  # that of CLIP's own token embeddings at their start


class QAEmbedding(nn.Embedding):
    """An embedding table with one more id, ``qa_id`` = its number of rows, which is trained."""

    def __init__(self, num_rows: int, dim: int) -> None:
        super().__init__(num_rows, dim)
        self.qa_id = num_rows
        self.qa = nn.Parameter(torch.randn(dim) * _STD)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors [B,T,dim] of ids [B,T] in 0..``qa_id``."""
        is_qa = ids == self.qa_id
        known = super().forward(ids.masked_fill(is_qa, 0))
        return torch.where(is_qa[..., None], self.qa.to(known.dtype), known)

    def insert(self, tokens: Tensor) -> Tensor:
        """``tokens`` [B,T] with the [QA] id behind SOT, the first of each row: [B,T+1]."""
        column = torch.full_like(tokens[:, :1], self.qa_id)
        return torch.cat([tokens[:, :1], column, tokens[:, 1:]], dim=1)
