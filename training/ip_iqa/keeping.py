"""Keeps a trained model as a checkpoint that `eliq.ip_iqa.IPIQA.from_pretrained` opens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eliq.ip_iqa import IPIQA, IPIQAModel, PromptTokenizer, RatingScale

__all__ = ["keep"]


def keep(
    model: IPIQAModel,
    encoder: PromptTokenizer,
    directory: Path,
    *,
    scale: Sequence[float] = (0.0, 5.0),
    training: dict[str, Any] | None = None,
) -> Path:
    """Write ``model`` with its tokenizer; the model itself is left as it is.

    Args:
        scale: the lowest and the highest rating that could be given, of every output.
        training: facts for the card, plain JSON.

    Raises:
        ConfigError: a scale whose low end is not below its high end.
        CheckpointError: the directory holds something else, or weights that are not finite.
    """
    low, high = scale
    scorer = IPIQA(
        copy.deepcopy(model).to("cpu"),  # a scorer puts its model into eval mode
        encoder.tokenizer,
        scale={name: RatingScale(low, high) for name in model.config.outputs},
        training=training,
    )
    return scorer.save_pretrained(directory)
