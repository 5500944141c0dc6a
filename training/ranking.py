"""Eqs. 18 and 19 where some negatives may be left out, as an ablation leaves them out."""

from __future__ import annotations

from torch import Tensor

from eliq.losses import alignment_ranking_loss, visual_ranking_loss

__all__ = ["ranking_losses"]


def ranking_losses(
    visual: Tensor, alignment: Tensor, supervised: Tensor | None = None, *, margin: float
) -> tuple[Tensor, Tensor]:
    """L_vis (18) and L_ali (19) of scores predicted independently (17).

    Args:
        visual: s_vis [B,3] of I+, I-tec, I-aes. alignment: s_ali [B,2] of I+ with p and p-ali.
        supervised: bool [B,3], which of the three pairs count (`EmbeddingCache.tuple_supervised`);
            the mean is over those that do, and a pair that never does adds 0. None: all.
    """
    if supervised is None:
        return (
            visual_ranking_loss(visual[:, 0], visual[:, 1], visual[:, 2], margin=margin),
            alignment_ranking_loss(alignment[:, 0], alignment[:, 1], margin=margin),
        )

    def pair(better: Tensor, worse: Tensor, counts: Tensor) -> Tensor:
        if not counts.any():
            return better.sum() * 0.0
        return alignment_ranking_loss(better[counts], worse[counts], margin=margin)  # any pair's

    technical = pair(visual[:, 0], visual[:, 1], supervised[:, 0])
    aesthetic = pair(visual[:, 0], visual[:, 2], supervised[:, 1])
    return technical + aesthetic, pair(alignment[:, 0], alignment[:, 1], supervised[:, 2])
