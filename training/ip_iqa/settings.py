"""Settings of the two trainings, as plain JSON; the defaults are the published ones.

From the released code where the paper is silent: mean squared error on raw opinion scores, AdamW
(.9, .999) without weight decay, 1e-5 and ten times that for the head, no warm-up, batches of 32,
100 epochs, flips as the only augmentation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from eliq.errors import ConfigError

__all__ = ["Image2PromptSettings", "RatingSettings", "SplitSettings"]


@dataclass(frozen=True)
class RatingSettings:
    """The regression on ratings.

    Attributes:
        head_factor: of the learning rate, for the regression head.
        new_factor: the same for the cross-modality pooling and the [QA] token; 1 as in the released
            code.
        validate_every, save_every: in epochs; a run that is killed goes on from its last save.
        flip: whether half of the images are mirrored.
    """

    num_epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-5
    head_factor: float = 10.0
    new_factor: float = 1.0
    weight_decay: float = 0.0
    validate_every: int = 1
    save_every: int = 5
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self, "num_epochs", "batch_size", "validate_every", "save_every")
        _above_zero(self, "learning_rate", "head_factor", "new_factor")
        _not_negative(self, "weight_decay", "seed")


@dataclass(frozen=True)
class Image2PromptSettings:
    """Image2Prompt incremental pretraining of the visual tower.

    The paper's settings are not known; these are ours: few epochs, a small rate, and a check for
    collapse every epoch on ``num_checked`` pairs that are not trained on.
    """

    num_epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-5
    weight_decay: float = 0.0
    num_checked: int = 256
    flip: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self, "num_epochs", "batch_size")
        _above_zero(self, "learning_rate")
        _not_negative(self, "weight_decay", "seed")
        if self.num_checked < 2:
            raise ConfigError(f"num_checked: expected 2 or more, found {self.num_checked}")


@dataclass(frozen=True)
class SplitSettings:
    """Prompt-grouped repeats: ``test_share`` of the rows is tested on, ``validation_share`` of all
    rows chooses the epoch, the rest is trained on. No prompt is in two of them."""

    num_splits: int = 10
    test_share: float = 0.2
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _positive(self, "num_splits")
        for name in ("test_share", "validation_share"):
            if not 0 < getattr(self, name) < 0.5:
                raise ConfigError(f"{name}: expected 0 to 0.5, found {getattr(self, name)}")


def to_json(settings: Any) -> dict[str, Any]:
    """Plain JSON form of any of the settings."""
    return asdict(settings)


def _positive(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name}: expected a whole number of 1 or more, found {value!r}")


def _above_zero(settings: Any, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not math.isfinite(value) or value <= 0:
            raise ConfigError(f"{name}: expected a number above 0, found {value!r}")


def _not_negative(settings: Any, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < 0:
            raise ConfigError(f"{name}: expected 0 or more, found {getattr(settings, name)!r}")
