"""A linear regressor as a part of the scoring head, so that a critic with it is a critic like any.

The last layers of the head are Linear, GELU, Linear. They hold a linear map exactly, because
GELU(x) - GELU(-x) = x: x Phi(x) + x Phi(-x), and Phi(x) + Phi(-x) = 1. So a weak-supervised critic
needs no other checkpoint format and no other scorer; its raw score is the predicted opinion.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from eliq.errors import ConfigError
from eliq.head import ScoringHead

from .ridge import Ridge

__all__ = ["fold_into_head"]


@torch.no_grad()
def fold_into_head(head: ScoringHead, regressors: dict[str, Ridge]) -> ScoringHead:
    """A copy of `head` whose raw scores are those of the regressors (float32 rounding apart).

    Args:
        regressors: for "visual_quality", "alignment" or both, on the tokens of
            `ScoringHead.encode`; the other score stays as it is.

    Raises:
        ConfigError: another name, or weights of another width than the head's.
    """
    folded = copy.deepcopy(head)
    places = {
        "visual_quality": folded.qqt.score_visual,
        "alignment": folded.qqt.score_alignment,
    }
    for name, regressor in regressors.items():
        if name not in places:
            raise ConfigError(f"regressors: expected {' or '.join(places)}, found {name!r}")
        _fold(places[name], regressor, head.config.model_dim, name)
    return folded


def _fold(score: nn.Sequential, regressor: Ridge, width: int, name: str) -> None:
    first, last = score[0], score[2]
    weights = torch.as_tensor(regressor.weights, dtype=torch.float64)
    if weights.shape != (width,):
        raise ConfigError(
            f"{name}: expected {width} weights, one a feature of the head, found "
            f"{tuple(weights.shape)}"
        )
    for parameter in score.parameters():
        parameter.zero_()
    for row, sign in enumerate((1.0, -1.0)):
        first.weight[row].copy_(sign * weights)
        first.bias[row] = sign * regressor.offset
        last.weight[0, row] = sign
