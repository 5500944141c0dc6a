"""The two losses of IP-IQA, and the check that pretraining has not collapsed."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ConfigError

__all__ = ["collapse_check", "image2prompt_loss", "rating_loss"]


def image2prompt_loss(images: Tensor, prompts: Tensor) -> Tensor:
    """Image2Prompt: the mean of 1 - cosine between image vectors and prompt vectors, both [B,E].

    In 0..2. The prompt's vector is frozen: give it without a gradient. There are no negatives, so
    one vector for every image lowers this loss too; see `collapse_check`.
    """
    return (1.0 - F.cosine_similarity(images.float(), prompts.float(), dim=-1)).mean()


def rating_loss(scores: Tensor, ratings: Tensor) -> Tensor:
    """Mean squared error of scores [B,K] against ratings [B,K]; NaN = not rated, left out.

    Raises:
        ConfigError: other shapes, or a batch without any rating.
    """
    if scores.shape != ratings.shape:
        raise ConfigError(
            f"ratings: expected the shape of the scores {list(scores.shape)}, "
            f"found {list(ratings.shape)}"
        )
    is_rated = ~ratings.isnan()
    if not bool(is_rated.any()):
        raise ConfigError("ratings: expected a rating in every batch, found one without")
    error = (scores.float() - ratings.nan_to_num()) * is_rated
    return error.square().sum() / is_rated.sum()


@torch.no_grad()
def collapse_check(images: Tensor, prompts: Tensor) -> dict[str, float | bool]:
    """Whether image vectors [K,E] still tell images apart; prompts [K,E] are the frozen targets.

    Returns:
        ``image_spread``: mean of 1 - cosine over pairs of different images (0 = all alike).
        ``prompt_spread``: the same over prompts, what a perfect image tower would have.
        ``retrieval``: share of images whose own prompt is nearest among the K distinct ones.
        ``chance``: what guessing gives.
        ``collapsed``: the images' spread is below a tenth of the prompts', or retrieval is no
            better than chance.

    Raises:
        ConfigError: fewer than two different prompts.
    """
    if images.shape != prompts.shape or images.ndim != 2:
        raise ConfigError(
            f"collapse check: expected two [K,E], found {list(images.shape)} and "
            f"{list(prompts.shape)}"
        )
    images, prompts = F.normalize(images.float(), dim=1), F.normalize(prompts.float(), dim=1)
    distinct, own = torch.unique(prompts, dim=0, return_inverse=True)
    if len(distinct) < 2:
        raise ConfigError("collapse check: expected two different prompts or more, found one")
    image_spread, prompt_spread = _spread(images), _spread(distinct)
    retrieval = float(((images @ distinct.T).argmax(dim=1) == own).float().mean())
    chance = 1.0 / len(distinct)
    return {
        "image_spread": image_spread,
        "prompt_spread": prompt_spread,
        "retrieval": retrieval,
        "chance": chance,
        "collapsed": image_spread < 0.1 * prompt_spread or retrieval <= chance,
    }


def _spread(rows: Tensor) -> float:
    """Mean of 1 - cosine over pairs of different rows of unit vectors [K,E]."""
    count = len(rows)
    total = rows.sum(dim=0).square().sum() - rows.square().sum()
    return float(1.0 - total / (count * (count - 1)))
