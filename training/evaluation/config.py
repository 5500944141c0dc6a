"""Settings of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from eliq.errors import ConfigError

from ..field_types import check_types

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured, and how often it is drawn anew.

    Attributes:
        split: only rows of this split of the benchmark ("train", "val", "test"); None = all.
        max_images: at most about so many, whole groups drawn at random; None = all.
        num_resamples: of the bootstrap, which draws whole prompts.
        confidence: of its intervals.
        num_splits, test_share: prompt-grouped test parts, over which the mean is also given.
        shuffle_images: images that are scored again with another image's prompt; 0 = none.
        seed: of all that is drawn.

    Raises:
        ConfigError: a value out of range or of another type.
    """

    split: str | None = None
    max_images: int | None = None
    num_resamples: int = 1000
    confidence: float = 0.95
    num_splits: int = 10
    test_share: float = 0.2
    shuffle_images: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, "evaluation")
        checks = {
            "max_images (None or > 0)": self.max_images is None or self.max_images > 0,
            "num_resamples (> 0)": self.num_resamples > 0,
            "confidence (0..1)": 0 < self.confidence < 1,
            "num_splits (>= 0)": self.num_splits >= 0,
            "test_share (0..1)": 0 < self.test_share < 1,
            "shuffle_images (>= 0)": self.shuffle_images >= 0,
            "seed (>= 0)": self.seed >= 0,
        }
        for name, is_right in checks.items():
            if not is_right:
                found = getattr(self, name.split()[0])
                raise ConfigError(f"evaluation: expected {name}, found {found}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationConfig:
        """Raises ConfigError on a name that is none."""
        unknown = set(data) - {field.name for field in fields(cls)}
        if unknown:
            raise ConfigError(f"evaluation: no setting is called {sorted(unknown)}")
        return cls(**data)
