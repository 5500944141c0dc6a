"""Tiny IP-IQA scorers for the tests of its doors: random towers, or answers known beforehand."""

from __future__ import annotations

from typing import Any

import torch

from eliq.ip_iqa import IPIQA, IPIQAModel, RatingScale
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_tokenizer

__all__ = ["constant_scorer", "look_at", "scorer_of", "tiny_ip_iqa"]

SCALE = RatingScale(-4.0, 4.0)


def scorer_of(model: IPIQAModel, *, scale: RatingScale = SCALE, **options: Any) -> IPIQA:
    """A scorer with one scale for all outputs of a model."""
    return IPIQA(
        model, tiny_tokenizer(), scale=dict.fromkeys(model.config.outputs, scale), **options
    )


def tiny_ip_iqa(*, seed: int = 0, **changes: Any) -> IPIQA:
    """A scorer of tiny random towers; ``changes`` are those of its config."""
    return scorer_of(tiny_model(tiny_config(**changes), seed=seed))


def constant_scorer(ratings: tuple[float, ...], scale: RatingScale, **changes: Any) -> IPIQA:
    """A scorer that gives these ratings to everything."""
    model = tiny_model(tiny_config(**changes))
    with torch.no_grad():
        model.head[-1].weight.zero_()
        model.head[-1].bias.copy_(torch.tensor(ratings))
    return scorer_of(model, scale=scale)


def look_at(model: IPIQAModel, row: int, column: int) -> None:
    """Let the cross-modality pooling look at one cell, whatever the image and the text.

    Its position vector is far along the direction in which keys meet the query, which is the same
    for every text; keys read nothing else.
    """
    cross, grid = model.cross, model.config.grid
    width = cross.key.weight.shape[1]
    with torch.no_grad():
        cross.query.weight.zero_()
        cross.query.bias.fill_(1.0)
        cross.key.weight.fill_(1.0 / width)
        cross.key.bias.zero_()
        cross.position.zero_()
        cross.position[1 + row * grid + column] = 1000.0
