"""Keeps a trained model as a checkpoint that `eliq.ip_iqa.IPIQA.from_pretrained` opens."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eliq.errors import TrainingError
from eliq.ip_iqa import IPIQA, IPIQAModel, PromptTokenizer, RatingScale
from training.evaluation import RatedSet

from .data import OPINION

__all__ = ["keep", "rating_scale"]


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


#: Lowest and highest rating of the sets whose form is published.
_SCALES = {
    "agiqa_1k": (0.0, 5.0),
    "agiqa_3k": (0.0, 5.0),
    "aigiqa_20k": (0.0, 5.0),
    "aigciqa2023": (0.0, 100.0),
}


def rating_scale(
    given: Sequence[float] | None, name: str, rated: RatedSet, outputs: Sequence[str]
) -> tuple[float, float]:
    """The scale of the raters, on which every rating lies: a wrong one would clip all scores.

    Raises:
        TrainingError: not given for a set without a known one, or ratings lie beyond it.
    """
    asked = {OPINION[output] for output in outputs}
    found = [getattr(row, opinion) for row in rated.rows for opinion in asked]
    found = [value for value in found if value is not None]
    if not found:
        return (0.0, 1.0)  # `rated_data` says what is missing
    seen = f"ratings from {min(found):g} to {max(found):g}"
    if given is None and name not in _SCALES:
        raise TrainingError(
            f"--scale: expected the lowest and the highest rating that could be given, for models "
            f"of --set {name}, found none ({seen}): such as --scale 1 5, or --keep none"
        )
    low, high = given or _SCALES[name]
    if not low < high or min(found) < low or max(found) > high:
        raise TrainingError(
            f"--scale: expected the lowest and the highest rating that could be given, found "
            f"{low:g} {high:g} and {seen}"
        )
    return low, high
