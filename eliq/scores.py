"""The result of scoring: one row an image, in the order of the input.

Shapes: B = number of images. A number that does not exist is NaN in a tensor and null in a row,
never 0: an image that failed has neither score, an image without a prompt has no alignment.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .errors import EliqError

__all__ = ["ASPECT_NAMES", "SCORE_NAMES", "Scores"]

ASPECT_NAMES = ("technical", "aesthetic", "alignment")
SCORE_NAMES = ("visual_quality", "alignment")


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of B images.

    Attributes:
        visual_quality: float32 [B] in 0..1, higher is better; NaN = not scored.
        alignment: float32 [B] in 0..1, higher is better; NaN = not scored, or an empty prompt.
        aspects: ``technical``, ``aesthetic``, ``alignment``: P(high) of the backbone's answer,
            float32 [B] in 0..1.
        raw: ``visual_quality``, ``alignment``: uncalibrated outputs of the head, float32 [B],
            unbounded.
        flags: short words an image, such as ``no_prompt`` or ``constant_image``.
        errors: None where the image was scored, else one line that says why it was not.
        error_classes: None where the image was scored, else a short fixed word for the reason.

    Raises:
        EliqError: the parts do not have the same number of rows, or a name is missing.
    """

    visual_quality: Tensor
    alignment: Tensor
    aspects: dict[str, Tensor]
    raw: dict[str, Tensor]
    flags: list[list[str]]
    errors: list[str | None]
    error_classes: list[str | None]

    def __post_init__(self) -> None:
        _check_names("aspects", self.aspects, ASPECT_NAMES)
        _check_names("raw", self.raw, SCORE_NAMES)
        for name, column in self._columns():
            if column.ndim != 1 or column.dtype != torch.float32:
                raise EliqError(
                    f"Scores.{name}: expected float32 [B], "
                    f"found {str(column.dtype).removeprefix('torch.')} {list(column.shape)}"
                )
        lengths = {name: len(column) for name, column in self._columns()}
        lengths |= {name: len(getattr(self, name)) for name in ("flags", "errors", "error_classes")}
        if len(set(lengths.values())) != 1:
            raise EliqError(f"Scores: expected as many rows in every part, found {lengths}")

    def _columns(self) -> Iterator[tuple[str, Tensor]]:
        yield "visual_quality", self.visual_quality
        yield "alignment", self.alignment
        for name in ASPECT_NAMES:
            yield f"aspects[{name!r}]", self.aspects[name]
        for name in SCORE_NAMES:
            yield f"raw[{name!r}]", self.raw[name]

    def __len__(self) -> int:
        return len(self.flags)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.to_rows())

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Row ``index`` (negative counts from the end) as a dict that ``json.dumps`` accepts.

        Raises:
            IndexError: no such row.
        """
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"row {position} of {len(self)} rows")
        return {
            "visual_quality": _json_number(self.visual_quality[position]),
            "alignment": _json_number(self.alignment[position]),
            "aspects": {name: _json_number(self.aspects[name][position]) for name in ASPECT_NAMES},
            "raw": {name: _json_number(self.raw[name][position]) for name in SCORE_NAMES},
            "flags": list(self.flags[position]),
            "status": "ok" if self.errors[position] is None else "failed",
            "error": self.errors[position],
            "error_class": self.error_classes[position],
        }

    def to_rows(self) -> list[dict[str, Any]]:
        """Every row as a JSON-ready dict, in the order of the input."""
        host = self.to("cpu")  # one copy a column instead of one a number
        return [host[index] for index in range(len(host))]

    def to(self, device: torch.device | str) -> Scores:
        """The same scores with every tensor on ``device``."""
        return Scores(
            visual_quality=self.visual_quality.to(device),
            alignment=self.alignment.to(device),
            aspects={name: column.to(device) for name, column in self.aspects.items()},
            raw={name: column.to(device) for name, column in self.raw.items()},
            flags=self.flags,
            errors=self.errors,
            error_classes=self.error_classes,
        )

    @classmethod
    def empty_rows(
        cls,
        num_rows: int,
        *,
        flags: Sequence[Sequence[str]] | None = None,
        errors: Sequence[str | None] | None = None,
        error_classes: Sequence[str | None] | None = None,
        device: torch.device | str = "cpu",
    ) -> Scores:
        """``num_rows`` rows of NaN: the canvas into which `scatter` places what was scored."""

        def column() -> Tensor:
            return torch.full((num_rows,), math.nan, dtype=torch.float32, device=device)

        return cls(
            visual_quality=column(),
            alignment=column(),
            aspects={name: column() for name in ASPECT_NAMES},
            raw={name: column() for name in SCORE_NAMES},
            flags=[list(words) for words in ([()] * num_rows if flags is None else flags)],
            errors=list([None] * num_rows if errors is None else errors),
            error_classes=list([None] * num_rows if error_classes is None else error_classes),
        )

    def scatter(self, positions: Sequence[int], scored: Scores) -> Scores:
        """A copy in which row ``positions[k]`` is row k of ``scored``; other rows stay.

        Raises:
            EliqError: not one position a row, a position twice, or outside this result.
        """
        wanted = list(positions)
        if len(wanted) != len(scored) or len(set(wanted)) != len(wanted):
            raise EliqError(
                f"Scores.scatter: expected {len(scored)} different positions, found {wanted}"
            )
        if any(not 0 <= position < len(self) for position in wanted):
            raise EliqError(
                f"Scores.scatter: expected positions 0..{len(self) - 1}, found {wanted}"
            )
        both = Scores.concatenate([self, scored])
        source = list(range(len(self)))
        for row, position in enumerate(wanted):
            source[position] = len(self) + row
        return both.select(source)

    def select(self, indices: Sequence[int]) -> Scores:
        """The rows ``indices``, in that order; a row may appear more than once.

        Raises:
            IndexError: no such row.
        """
        order = torch.as_tensor(list(indices), dtype=torch.int64, device=self.alignment.device)
        return Scores(
            visual_quality=self.visual_quality[order],
            alignment=self.alignment[order],
            aspects={name: self.aspects[name][order] for name in ASPECT_NAMES},
            raw={name: self.raw[name][order] for name in SCORE_NAMES},
            flags=[list(self.flags[index]) for index in indices],
            errors=[self.errors[index] for index in indices],
            error_classes=[self.error_classes[index] for index in indices],
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Scores]) -> Scores:
        """The rows of all ``parts``, in order, on the device of the first one."""
        if not parts:
            return cls.empty_rows(0)
        device = parts[0].visual_quality.device
        parts = [part.to(device) for part in parts]
        return cls(
            visual_quality=torch.cat([part.visual_quality for part in parts]),
            alignment=torch.cat([part.alignment for part in parts]),
            aspects={n: torch.cat([part.aspects[n] for part in parts]) for n in ASPECT_NAMES},
            raw={n: torch.cat([part.raw[n] for part in parts]) for n in SCORE_NAMES},
            flags=[list(words) for part in parts for words in part.flags],
            errors=[error for part in parts for error in part.errors],
            error_classes=[word for part in parts for word in part.error_classes],
        )


def _check_names(part: str, columns: dict[str, Tensor], expected: Sequence[str]) -> None:
    if set(columns) != set(expected):
        raise EliqError(f"Scores.{part}: expected {sorted(expected)}, found {sorted(columns)}")


def _json_number(value: Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None  # JSON has neither NaN nor infinity
