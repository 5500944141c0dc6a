"""The ``--fail-under`` gate: which images are below a score that the user asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

__all__ = ["Gate", "parse_gates"]

_NAMES = ("visual_quality", "alignment")


@dataclass(frozen=True)
class Gate:
    """A least value for one score.

    ``is_named`` tells ``alignment=0.5`` from a bare ``0.5``: a bare number judges the scores that
    an image has, a named one is missed too by an image without that score.
    """

    name: str
    minimum: float
    is_named: bool

    def is_missed(self, row: Mapping[str, Any]) -> bool:
        score = row[self.name]
        return self.is_named if score is None else score < self.minimum


def parse_gates(texts: Sequence[str]) -> list[Gate]:
    """Gates from ``0.5`` (both scores) or ``visual_quality=0.6``, each option one text.

    Raises:
        ConfigError: another name, or a number outside 0..1.
    """
    gates: list[Gate] = []
    for text in texts:
        name, separator, number = text.rpartition("=")
        if separator and name not in _NAMES:
            raise ConfigError(f"--fail-under {text}: expected one of {', '.join(_NAMES)} before =")
        try:
            minimum = float(number)
        except ValueError:
            minimum = -1.0
        if not 0.0 <= minimum <= 1.0:  # NaN as well
            raise ConfigError(f"--fail-under {text}: expected a number from 0 to 1")
        names = [name] if separator else _NAMES
        gates += [Gate(one, minimum, is_named=bool(separator)) for one in names]
    return gates
