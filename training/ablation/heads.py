"""Other heads and other visual representations, to be compared with those of the paper.

A replaced Quality Query Transformer leaves the gated fusion (Eqs. 9-12) as it is. A replaced
representation leaves the head as it is, with every parameter: the embeddings it is given change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from eliq.head import HeadConfig, HeadOutput, QualityQueryTransformer, ScoringHead

from ..embedding_cache import EmbeddingCache

__all__ = ["HEADS", "REPRESENTATIONS", "RepresentedHead", "represented"]


class _NoQueries(nn.Module):
    """In the place of the QQT: z_va [B,2h] -> "tokens" [B,3,d], of which the head reads the last
    two, here both the same."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.width = 2 * config.hidden_size

    def encode(self, content: Tensor) -> Tensor:
        """[B,2h] -> [B,d]."""
        raise NotImplementedError

    def forward(self, content: Tensor) -> Tensor:
        return self.encode(content)[:, None].expand(-1, 3, -1)


class _Linear(_NoQueries):
    """Two linear scores of z_va."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        self.score_visual = nn.Linear(self.width, 1)
        self.score_alignment = nn.Linear(self.width, 1)

    def encode(self, content: Tensor) -> Tensor:
        return content


class _Mlp(_NoQueries):
    """Two MLPs on z_va, of the form and width of f_vis and f_ali (Eq. 15)."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        d = config.model_dim
        self.score_visual = nn.Sequential(nn.Linear(self.width, d), nn.GELU(), nn.Linear(d, 1))
        self.score_alignment = nn.Sequential(nn.Linear(self.width, d), nn.GELU(), nn.Linear(d, 1))

    def encode(self, content: Tensor) -> Tensor:
        return content


class _Pooled(QualityQueryTransformer):
    """The QQT itself, but both scores are read from the mean of its three tokens."""

    def forward(self, content: Tensor) -> Tensor:
        return super().forward(content).mean(dim=1, keepdim=True).expand(-1, 3, -1)


def _with_qqt(make: Callable[[HeadConfig], nn.Module]) -> Callable[[HeadConfig], ScoringHead]:
    def head(config: HeadConfig) -> ScoringHead:
        made = ScoringHead(config)
        made.qqt = make(config)
        return made

    return head


#: Each makes a head from its sizes; all have the inputs and outputs of `ScoringHead`.
HEADS: dict[str, Callable[[HeadConfig], ScoringHead]] = {
    "qqt": ScoringHead,
    "linear": _with_qqt(_Linear),
    "mlp": _with_qqt(_Mlp),
    "pooled": _with_qqt(_Pooled),
}


#: z_tec, z_aes -> what the head is given in their place.
REPRESENTATIONS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    "both": lambda technical, aesthetic: (technical, aesthetic),
    "technical": lambda technical, aesthetic: (technical, technical),
    "aesthetic": lambda technical, aesthetic: (aesthetic, aesthetic),
    "mean": lambda technical, aesthetic: ((technical + aesthetic) / 2,) * 2,
}


def represented(cache: EmbeddingCache, name: str) -> EmbeddingCache:
    """The cache with the visual embeddings of one of `REPRESENTATIONS`."""
    change = REPRESENTATIONS[name]
    tuples = change(cache.tuple_technical, cache.tuple_aesthetic)
    ladders = change(cache.ladder_technical, cache.ladder_aesthetic)
    return replace(
        cache,
        tuple_technical=tuples[0],
        tuple_aesthetic=tuples[1],
        ladder_technical=ladders[0],
        ladder_aesthetic=ladders[1],
    )


class RepresentedHead(nn.Module):
    """A trained head behind the representation that it was trained on: scores plain embeddings."""

    def __init__(self, head: ScoringHead, name: str) -> None:
        super().__init__()
        self.head, self.config, self.name = head, head.config, name

    def forward(self, technical: Tensor, aesthetic: Tensor, alignment: Tensor) -> HeadOutput:
        with torch.autocast(technical.device.type, enabled=False):
            visual = REPRESENTATIONS[self.name](technical.float(), aesthetic.float())
        return self.head(*visual, alignment)
