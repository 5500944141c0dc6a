"""Settings of stage 1, as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from eliq.errors import ConfigError

from .field_types import check_types

__all__ = ["Stage1Config"]


@dataclass(frozen=True)
class Stage1Config:
    """How the backbone is tuned. The defaults are those for a large backbone with LoRA.

    Batches: a forward holds `tuples_per_forward` tuples (three images and six answers each) and
    `ladders_per_forward` ladders; a step accumulates `grad_accumulation` forwards.
    `num_steps` 0 means `epochs` passes over the tuples.
    Tuning: "lora" (language layers, and the vision tower where `lora_vision`), "qlora" (the same
    on language layers of 4 bits, needs bitsandbytes) or "full" (with `train_vision` False the
    vision tower stays frozen). `lora_alpha` None is 2 x rank. `optimizer` "muon" is for "full".
    `precision` "bf16" computes under autocast (in float32 on a CPU without units for bfloat16);
    `gradient_checkpointing` recomputes activations.
    Loss: Eq. 5 plus `ladder_weight` times the ladder ranking on the low/high margins.
    `select` "best" ends with the weights of the best validation, "last" with the last ones.
    """

    num_steps: int = 0
    epochs: float = 2.0
    tuples_per_forward: int = 4
    ladders_per_forward: int = 2
    grad_accumulation: int = 4
    tuning: str = "lora"
    lora_rank: int = 16
    lora_alpha: float | None = None
    lora_dropout: float = 0.05
    lora_vision: bool = True
    train_vision: bool = True
    optimizer: str = "adamw"
    learning_rate: float = 1e-4
    adamw_learning_rate: float | None = None
    weight_decay: float = 0.01
    warmup_share: float = 0.03
    max_grad_norm: float = 1.0
    ladder_weight: float = 1.0
    ladder_margin_step: float = 0.3
    ladder_margin_total: float = 1.0
    precision: str = "bf16"
    gradient_checkpointing: bool = True
    validate_every: int = 200
    max_validation_rows: int = 256
    save_every: int = 200
    select: str = "best"
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, "stage1")
        for name in ("tuples_per_forward", "grad_accumulation", "lora_rank", "save_every",
                     "validate_every", "max_validation_rows"):  # fmt: skip
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("num_steps", "ladders_per_forward", "num_workers", "ladder_weight",
                     "weight_decay", "warmup_share", "seed"):  # fmt: skip
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("learning_rate", "epochs", "max_grad_norm"):
            value = getattr(self, name)
            self._check(name, math.isfinite(value) and value > 0, "a positive number")
        self._check(
            "lora_alpha", self.lora_alpha is None or self.lora_alpha > 0, "above 0, or null"
        )
        self._check("lora_dropout", 0 <= self.lora_dropout < 1, "from 0 to below 1")
        choices = {
            "tuning": ("lora", "qlora", "full"),
            "optimizer": ("adamw", "muon"),
            "precision": ("bf16", "float32"),
            "select": ("best", "last"),
        }
        for name, allowed in choices.items():
            self._check(name, getattr(self, name) in allowed, f"one of {allowed}")

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ConfigError(f"stage1.{name}: expected {expected}, found {getattr(self, name)!r}")

    def steps(self, num_tuples: int, world_size: int = 1) -> int:
        """Optimizer steps of the whole run."""
        if self.num_steps:
            return self.num_steps
        batch = self.tuples_per_forward * self.grad_accumulation * world_size
        return max(1, math.ceil(self.epochs * num_tuples / batch))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stage1Config:
        """Raises ConfigError on a key that it does not know, and on a value that it refuses."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(f"stage1: unknown key {unknown[0]!r}; known are {sorted(known)}")
        return cls(**data)
