"""Settings of stage 2, as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from eliq.errors import ConfigError
from eliq.head import HeadConfig

from .embedding_cache import PROMPTS
from .field_types import check_types

__all__ = ["Stage2Config"]

LEAST_STEPS = 250


@dataclass(frozen=True)
class Stage2Config:
    """How the head is trained, by AdamW in batches of 64 tuples.

    `num_steps` 0 means `epochs` passes over the tuples, and not fewer than 250 steps, since the
    head starts from nothing.
    `visual_prompts` are the prompts with which z_ali of a visual pair is taken, one at random for
    each image and step: ("own",) is the paper's form, which never sees an image without a prompt,
    though such images are scored; ("own", "negative", "none") also teaches s_vis not to depend on
    the prompt. `margin_weight` above 0 also holds s_vis to the backbone's own low/high margins
    (`margin_distillation_loss`), which helps a head that has few tuples;
    `alignment_margin_weight` does the same for s_ali and the margins of the alignment question.
    Stops when the held-out loss has not fallen for `patience` validations.
    """

    num_steps: int = 0
    epochs: float = 15.0
    batch_tuples: int = 64
    batch_ladders: int = 64
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    warmup_share: float = 0.03
    max_grad_norm: float = 1.0
    margin: float = 1.0
    ladder_weight: float = 1.0
    ladder_margin_step: float = 0.3
    ladder_margin_total: float = 1.0
    margin_weight: float = 0.0
    alignment_margin_weight: float = 0.0
    visual_prompts: tuple[str, ...] = ("own", "none")
    model_dim: int = 512
    num_layers: int = 2
    num_heads: int = 8
    ffn_dim: int = 2048
    mask_visual_query: bool = False
    validate_every: int = 20
    save_every: int = 500
    patience: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.visual_prompts, list):
            object.__setattr__(self, "visual_prompts", tuple(self.visual_prompts))
        check_types(self, "stage2")
        for name in ("batch_tuples", "validate_every", "save_every", "patience"):
            self._check(name, getattr(self, name) >= 1, "at least 1")
        for name in ("num_steps", "batch_ladders", "ladder_weight", "margin_weight",
                     "alignment_margin_weight", "weight_decay", "seed"):  # fmt: skip
            self._check(name, getattr(self, name) >= 0, "at least 0")
        for name in ("learning_rate", "epochs", "margin", "max_grad_norm"):
            value = getattr(self, name)
            self._check(name, math.isfinite(value) and value > 0, "a positive number")
        known = bool(self.visual_prompts) and set(self.visual_prompts) <= set(PROMPTS)
        self._check("visual_prompts", known, f"one or more of {PROMPTS}")
        self.head(hidden_size=1)  # refuses its sizes now, not after stage 1

    def _check(self, name: str, good: bool, expected: str) -> None:
        if not good:
            raise ConfigError(f"stage2.{name}: expected {expected}, found {getattr(self, name)!r}")

    def steps(self, num_tuples: int) -> int:
        """Steps of the whole run, if it does not stop before."""
        batch = min(self.batch_tuples, max(num_tuples, 1))
        return self.num_steps or max(LEAST_STEPS, math.ceil(self.epochs * num_tuples / batch))

    def head(self, hidden_size: int) -> HeadConfig:
        """The head's own configuration on a backbone of this width."""
        return HeadConfig(
            hidden_size,
            model_dim=self.model_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            ffn_dim=self.ffn_dim,
            mask_visual_query=self.mask_visual_query,
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"visual_prompts": list(self.visual_prompts)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Stage2Config:
        """Raises ConfigError on a key that it does not know, and on a value that it refuses."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(f"stage2: unknown key {unknown[0]!r}; known are {sorted(known)}")
        return cls(**data)
