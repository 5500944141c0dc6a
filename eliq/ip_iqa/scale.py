"""The scale of the ratings that a model was trained on, and its way to 0..1.

Unlike the calibration of a critic without labels, it is fixed by the raters' form: 0 is the lowest
opinion they could give, 1 the highest, 0.5 the middle of the form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import ConfigError

__all__ = ["RatingScale"]


@dataclass(frozen=True)
class RatingScale:
    """The lowest and the highest rating that could be given.

    Raises:
        ConfigError: not two finite numbers, low below high.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or not math.isfinite(value):
                raise ConfigError(f"scale {name}: expected a finite number, found {value!r}")
            object.__setattr__(self, name, float(value))
        if not self.low < self.high:
            raise ConfigError(
                f"scale: expected low below high, found {self.low} and {self.high}: name the "
                "lowest and the highest rating that could be given"
            )

    def to_unit(self, raw: Tensor) -> Tensor:
        """Ratings of any shape -> float32 in 0..1; beyond the scale its end, NaN stays NaN."""
        return ((raw.float() - self.low) / (self.high - self.low)).clamp(0.0, 1.0)

    def to_json(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RatingScale:
        """Raises ConfigError on anything but exactly the keys ``low`` and ``high``."""
        if not isinstance(data, Mapping) or set(data) != {"low", "high"}:
            found = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
            raise ConfigError(f"scale: expected the keys low and high, found {found}")
        return cls(**data)
