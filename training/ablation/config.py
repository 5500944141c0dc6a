"""What all variants of an ablation have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from eliq.errors import ConfigError

from ..stage1_config import Stage1Config
from ..stage2_config import Stage2Config

__all__ = ["AblationConfig"]


@dataclass(frozen=True)
class AblationConfig:
    """The comparison: same rows, same split, same steps.

    Attributes:
        backbone: its name, for the report.
        stage1, stage2: of every variant; a variant changes single settings.
        test_share: of the prompts, on which variants are compared. Nothing is chosen by them.
        validation_share: of the prompts that are left; both stages choose their best step by it,
            on the negatives that the variant trains on.
        split_seed: of both splits, the same for every seed of training.
        num_resamples, confidence: of the bootstrap over test prompts.

    Raises:
        ConfigError: a value out of range.
    """

    backbone: str = "embedded"
    stage1: Stage1Config = field(default_factory=Stage1Config)
    stage2: Stage2Config = field(default_factory=Stage2Config)
    test_share: float = 0.3
    validation_share: float = 0.15
    split_seed: int = 0
    num_resamples: int = 2000
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("test_share", "validation_share", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected 0..1, found {getattr(self, name)}")
        if self.num_resamples < 1:
            raise ConfigError(f"num_resamples: expected 1 or more, found {self.num_resamples}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"stage1": self.stage1.to_json(), "stage2": self.stage2.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> AblationConfig:
        """Raises ConfigError on a key that no config has."""
        unknown = sorted(data.keys() - cls.__dataclass_fields__.keys())
        if unknown:
            raise ConfigError(f"ablation: unknown key {unknown[0]!r}")
        values = dict(data)
        for name, kind in (("stage1", Stage1Config), ("stage2", Stage2Config)):
            if name in values:
                values[name] = kind.from_json(values[name])
        return cls(**values)
