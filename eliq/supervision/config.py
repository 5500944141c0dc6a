"""What a supervision set is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConfigError
from .distortions import MIN_SIDE_PX, SEVERITIES
from .rows import is_codec

__all__ = ["SupervisionConfig"]


@dataclass(frozen=True)
class SupervisionConfig:
    """How many tuples and ladders are made, of what, from which seed.

    Attributes:
        num_tuples: tuples of Eq. 1 to make; sources are used again where there are fewer.
        num_ladders: severity ladders to make beside them.
        seed: everything random follows from it.
        ai_specific_share: share of tuples of the AI-specific family (simulated), 0..1.
        hard_swap_share: share of tuples whose wrong prompt is wrong in one thing, 0..1, as far as a
            swap applies; the others get the prompt of another picture.
        severities: of the negatives, each equally likely, and of the steps of a ladder.
        max_side_px: larger pictures are reduced to this longer side.
        codec: "png", or "jpeg-q<quality>", of every image that is written.
        held_out: whether distortions marked held out take part.
        generated_share: share of negatives that are generated ones, 0..1, as far as there are any
            of the family and aspect drawn; the others are distortions of pixels.
        variant_share: share of tuples whose wrong prompt is that of a generated variant, 0..1, as
            far as there are any.

    Raises:
        ConfigError: a value outside what it may be.
    """

    num_tuples: int = 1000
    num_ladders: int = 200
    seed: int = 0
    ai_specific_share: float = 0.3
    hard_swap_share: float = 0.5
    severities: tuple[float, ...] = SEVERITIES
    max_side_px: int = 512
    codec: str = "png"
    held_out: bool = False
    generated_share: float = 1.0
    variant_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("num_tuples", "num_ladders", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ConfigError(f"{name} must be a whole number of 0 or more, found {value!r}")
        if not isinstance(self.held_out, bool):
            raise ConfigError(f"held_out must be true or false, found {self.held_out!r}")
        for name in ("ai_specific_share", "hard_swap_share", "generated_share", "variant_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in 0..1, found {getattr(self, name)}")
        steps = list(self.severities)
        if not steps or steps != sorted(set(steps)) or steps[0] < 1 or steps[-1] > 5:
            raise ConfigError(f"severities must rise strictly within 1..5, found {steps}")
        if self.max_side_px < MIN_SIDE_PX:
            raise ConfigError(
                f"max_side_px must be {MIN_SIDE_PX} or more, found {self.max_side_px}"
            )
        if not is_codec(self.codec):
            raise ConfigError(f'codec must be "png" or e.g. "jpeg-q92", found {self.codec!r}')

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"severities": list(self.severities)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SupervisionConfig:
        """Raises ConfigError for keys that no config has."""
        unknown = data.keys() - cls.__dataclass_fields__.keys()
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ConfigError(f"unknown key {sorted(unknown)[0]!r}; known are: {known}")
        values = dict(data)
        try:
            if "severities" in values:
                values["severities"] = tuple(values["severities"])
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"supervision: a value of a wrong type ({error})") from error
