"""Losses of ELIQ: Eq. 5 (instruction tuning), Eqs. 18-20 (ranking) and the ladder form.

Shapes: B tuples, S steps of a ladder ordered from mild to severe, V vocabulary. All losses are
means over the batch, in float32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "alignment_ranking_loss",
    "instruction_tuning_loss",
    "ladder_ranking_loss",
    "overall_loss",
    "visual_ranking_loss",
]


def instruction_tuning_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Eq. 5: negative log-likelihood of the one answer token, over the whole vocabulary.

    Args:
        logits: [N,V] at the last token of each question.
        labels: int64 [N], the id of ``low`` or ``high``, or -100 where an image's aspect is not
            supervised (the non-primary aspects of a negative, paper 3.3.1).

    Returns:
        Scalar; 0 if nothing is supervised.
    """
    if not (labels != -100).any():
        return logits.sum() * 0.0
    return F.cross_entropy(logits.float(), labels, ignore_index=-100)


def _hinge(better: Tensor, worse: Tensor, margin: float) -> Tensor:
    return torch.clamp(margin - better.float() + worse.float(), min=0)


def visual_ranking_loss(
    positive: Tensor, technical: Tensor, aesthetic: Tensor, *, margin: float = 1.0
) -> Tensor:
    """Eq. 18: the positive scores above its technical and its aesthetic negative by ``margin``.

    Two pairwise terms rather than the harder of the two, so that neither is starved of gradient.
    All arguments are raw s_vis [B].
    """
    return (_hinge(positive, technical, margin) + _hinge(positive, aesthetic, margin)).mean()


def alignment_ranking_loss(matched: Tensor, mismatched: Tensor, *, margin: float = 1.0) -> Tensor:
    """Eq. 19: (I+, p) scores above (I+, p_ali-) by ``margin``. Arguments are raw s_ali [B]."""
    return _hinge(matched, mismatched, margin).mean()


def overall_loss(visual: Tensor, alignment: Tensor) -> Tensor:
    """Eq. 20: L = L_vis + L_ali."""
    return visual + alignment


def ladder_ranking_loss(
    positive: Tensor, steps: Tensor, *, margin_step: float = 0.3, margin_total: float = 1.0
) -> Tensor:
    """Ladder form of Eq. 18: positive > mild > ... > severe. Not in the paper.

    Labels of low and high alone do not teach an order of severities that holds on real
    photographs (docs/decisions). Each step ranks below the one before it by ``margin_step``, and
    the most severe below the positive by ``margin_total``.

    Args:
        positive: raw scores [B].
        steps: raw scores [B,S], severities rising along S; NaN where a ladder has fewer steps.
            A ladder without any step adds 0.
    """
    if not steps.shape[1]:
        return positive.float().sum() * 0.0
    chain = torch.cat([positive[:, None], steps], dim=1)
    pair = _hinge(chain[:, :-1], chain[:, 1:], margin_step)
    known = ~torch.isnan(pair)
    # NaN entries are replaced before the sum, since NaN * 0 is NaN in the gradient too.
    neighbours = torch.where(known, pair, 0.0).sum(1) / known.sum(1).clamp(min=1)
    severest = steps.gather(
        1, (~torch.isnan(steps)).long().cumsum(1).argmax(1, keepdim=True)
    ).squeeze(1)
    total = _hinge(positive, severest, margin_total)
    # Times 0, not 0: a positive that is NaN is a failure of the run and has to show.
    total = torch.where(torch.isnan(steps).all(1), positive.float() * 0.0, total)
    return (neighbours + total).mean()
