"""What one trained variant gets right on the test rows, row by row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..embedding_cache import EmbeddingCache
from ..head_scores import score_cache

__all__ = ["backbone_outcome", "head_outcome"]


def head_outcome(head: nn.Module, test: EmbeddingCache) -> dict[str, Any]:
    """By the scores: s_vis of I+ above that of I-tec and I-aes, each with its own prompt; s_ali of
    (I+, p) above (I+, p-ali); neighbouring severities of ladders in order.

    Returns:
        {"technical", "aesthetic", "alignment": 0 or 1 for each tuple, "ladder": [right, pairs] for
        each ladder}. A tie is wrong.
    """
    scores = score_cache(head, test)
    own = scores["tuple_visual"][:, :, 0]
    alignment = scores["tuple_alignment"][:, 0]
    return _outcome(
        technical=own[:, 0] > own[:, 1],
        aesthetic=own[:, 0] > own[:, 2],
        alignment=alignment[:, 0] > alignment[:, 1],
        chain=scores["ladder_visual"],
    )


def backbone_outcome(test: EmbeddingCache, ladder_aspects: list[str]) -> dict[str, Any]:
    """The same by what the backbone itself answers: margins logit(high) - logit(low), the question
    being that of the aspect (of a ladder: `ladder_aspects`)."""
    margins = test.tuple_margins  # [N,3,5]: technical, aesthetic, own prompt, wrong prompt, none
    rows = torch.arange(len(ladder_aspects))
    asked = torch.tensor([("technical", "aesthetic").index(a) for a in ladder_aspects])
    chain = test.ladder_margins[rows, :, asked] if len(rows) else test.ladder_margins[:, :, 0]
    return _outcome(
        technical=margins[:, 0, 0] > margins[:, 1, 0],
        aesthetic=margins[:, 0, 1] > margins[:, 2, 1],
        alignment=margins[:, 0, 2] > margins[:, 0, 3],
        chain=torch.where(test.ladder_valid, chain, torch.nan),
    )


def _outcome(*, chain: Tensor, **wins: Tensor) -> dict[str, Any]:
    known = ~torch.isnan(chain[:, 1:])
    right = ((chain[:, :-1] > chain[:, 1:]) & known).sum(1)
    return {
        **{name: won.int().tolist() for name, won in wins.items()},
        "ladder": torch.stack([right, known.sum(1)], dim=1).tolist(),
    }
