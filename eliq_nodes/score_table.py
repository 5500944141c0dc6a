"""What travels on an ELIQ_SCORES link: the scores of a batch, as plain Python. Nothing of ComfyUI.

Shapes: B images, one row each, in the order of the batch. A number that does not exist is NaN:
an image that could not be scored has neither score, an image without a prompt no alignment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ScoreTable"]

_PER_IMAGE = ("visual_quality", "alignment", "prompts", "flags", "errors")


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of B images and where they came from.

    Attributes:
        visual_quality: [B] in 0..1, higher is better; NaN = not scored.
        alignment: [B] in 0..1, higher is better; NaN = not scored, or no prompt.
        prompts: [B], as the critic was asked; "" = none.
        aspects: name -> [B], P(high) of the critic's answer to each question, in 0..1.
        raw: name of a score -> [B], before calibration, unbounded.
        flags: [B], short words of eliq an image, such as "no_prompt".
        errors: [B], None where the image was scored, else one line that says why not.
        critic: name of the critic: "embedded", a folder or an id.
        critic_fingerprint: sha256 of all that makes its scores; None = not known.

    Raises:
        ValueError: parts of different lengths.
    """

    visual_quality: tuple[float, ...]
    alignment: tuple[float, ...]
    prompts: tuple[str, ...]
    aspects: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    raw: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    flags: tuple[tuple[str, ...], ...] = ()
    errors: tuple[str | None, ...] = ()
    critic: str = ""
    critic_fingerprint: str | None = None

    def __post_init__(self) -> None:
        size = len(self.visual_quality)
        object.__setattr__(self, "flags", self.flags or ((),) * size)
        object.__setattr__(self, "errors", self.errors or (None,) * size)
        lengths = {name: len(getattr(self, name)) for name in _PER_IMAGE}
        for part in (self.aspects, self.raw):
            lengths |= {name: len(column) for name, column in part.items()}
        if set(lengths.values()) - {size}:
            raise ValueError(f"ScoreTable: expected as many entries in every part, found {lengths}")

    @classmethod
    def from_scores(
        cls,
        scores: Any,
        prompts: Sequence[str | None],
        *,
        critic: str = "",
        critic_fingerprint: str | None = None,
    ) -> ScoreTable:
        """The table of an `eliq.Scores` and the prompts, one an image, that it was asked with."""
        return cls(
            visual_quality=_floats(scores.visual_quality),
            alignment=_floats(scores.alignment),
            prompts=tuple(prompt or "" for prompt in prompts),
            aspects={name: _floats(column) for name, column in scores.aspects.items()},
            raw={name: _floats(column) for name, column in scores.raw.items()},
            flags=tuple(tuple(words) for words in scores.flags),
            errors=tuple(scores.errors),
            critic=critic,
            critic_fingerprint=critic_fingerprint,
        )

    def __len__(self) -> int:
        return len(self.visual_quality)

    def take(self, indices: Sequence[int]) -> ScoreTable:
        """The rows ``indices``, in that order; a row may appear more than once.

        Raises:
            IndexError: no such row.
        """
        wanted = list(indices)
        for index in wanted:
            if not 0 <= index < len(self):
                raise IndexError(f"expected rows 0..{len(self) - 1}, found {index}")
        rows = {name: tuple(getattr(self, name)[i] for i in wanted) for name in _PER_IMAGE}
        return ScoreTable(
            **rows,
            aspects={name: tuple(c[i] for i in wanted) for name, c in self.aspects.items()},
            raw={name: tuple(c[i] for i in wanted) for name, c in self.raw.items()},
            critic=self.critic,
            critic_fingerprint=self.critic_fingerprint,
        )

    def record(self, index: int) -> dict[str, Any]:
        """Row ``index`` as JSON that says everything: also the prompt and the critic.

        Raises:
            IndexError: no such row.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"expected a row from 0 to {len(self) - 1}, found {index}")
        return {
            "visual_quality": _json_number(self.visual_quality[index]),
            "alignment": _json_number(self.alignment[index]),
            "aspects": {name: _json_number(c[index]) for name, c in self.aspects.items()},
            "raw": {name: _json_number(c[index]) for name, c in self.raw.items()},
            "prompt": self.prompts[index],
            "flags": list(self.flags[index]),
            "status": "ok" if self.errors[index] is None else "failed",
            "error": self.errors[index],
            "critic": self.critic,
            "critic_fingerprint": self.critic_fingerprint,
        }

    def to_json(self) -> list[dict[str, Any]]:
        """Every row as `record` gives it, in order."""
        return [self.record(index) for index in range(len(self))]


def _floats(column: Any) -> tuple[float, ...]:
    """A tensor, or any sequence of numbers."""
    return tuple(float(v) for v in (column.tolist() if hasattr(column, "tolist") else column))


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has neither NaN nor infinity
