"""Negatives that a generator made, in place of distortions of pixels (section 3.2.3).

`training.make_negatives` makes them and writes those that passed its gate to a list:

    GENERATED/kept.jsonl      one negative a line (`GeneratedNegative`), sorted
    GENERATED/images/..       the images, as they were generated

`build_supervision(..., generated=GENERATED)` then takes them where it would draw a distortion.
A generated negative is another image than its positive: only the prompt is the same, and of an
early decode and an edit also the composition. It has no severity but in early decodes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import SupervisionError
from .distortions import DISTORTIONS

__all__ = [
    "GENERATED_KINDS",
    "KEPT_NAME",
    "GeneratedKind",
    "GeneratedNegative",
    "aspect_of",
    "family_of",
    "read_generated",
]

KEPT_NAME = "kept.jsonl"


@dataclass(frozen=True)
class GeneratedKind:
    """One way of generating a negative: its name, what is worse in it, and its family."""

    name: str
    aspect: str
    family: str


GENERATED_KINDS: dict[str, GeneratedKind] = {
    kind.name: kind
    for kind in (
        GeneratedKind("degraded_prompt", "technical", "ai_specific"),
        GeneratedKind("early_decode", "technical", "ai_specific"),
        GeneratedKind("weak_generator", "aesthetic", "ai_specific"),
        GeneratedKind("degraded_look", "aesthetic", "ai_specific"),
        GeneratedKind("instruction_edit", "aesthetic", "conventional"),
        GeneratedKind("prompt_variant", "alignment", "ai_specific"),
    )
}


@dataclass(frozen=True)
class GeneratedNegative:
    """One generated image that is worse than a positive in one aspect.

    Attributes:
        negative_id: unique in its list.
        kind: a key of `GENERATED_KINDS`.
        source: name of the positive in its folder, as `Source.name`.
        prompt: of the positive.
        path: of the image.
        generation_prompt: what the generator was given; of a prompt variant the variant itself, to
            which the image is a positive.
        severity: 1..5 where the kind has an order (early decodes: the earlier the worse), or None.
        parameters: model, seed and settings, plain JSON.
    """

    negative_id: str
    kind: str
    source: str
    prompt: str
    path: str
    generation_prompt: str
    severity: float | None
    parameters: dict[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in GENERATED_KINDS:
            known = ", ".join(GENERATED_KINDS)
            raise SupervisionError(f"kind must be one of {known}, found {self.kind!r}")
        if self.severity is not None and not 1 <= self.severity <= 5:
            raise SupervisionError(f"severity must lie in 1..5 or be null, found {self.severity}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> GeneratedNegative:
        """Raises SupervisionError naming the key that is missing, unknown or of a wrong type."""
        if not isinstance(data, Mapping) or data.keys() != cls.__dataclass_fields__.keys():
            expected = ", ".join(cls.__dataclass_fields__)
            raise SupervisionError(f"expected a JSON object with the keys {expected}")
        for name, value in data.items():
            if name == "severity":
                right = value is None or isinstance(value, (int, float))
            else:
                right = isinstance(value, Mapping if name == "parameters" else str)
            if not right or isinstance(value, bool):
                raise SupervisionError(f"{name!r} is of a wrong type: {type(value).__name__}")
        parts = PurePosixPath(data["path"])
        if not data["path"] or "\\" in data["path"] or parts.is_absolute() or ".." in parts.parts:
            raise SupervisionError(
                f"paths must stay inside the folder of the list, found {data['path']!r}"
            )
        return cls(**{**data, "parameters": dict(data["parameters"])})

    @property
    def aspect(self) -> str:
        return GENERATED_KINDS[self.kind].aspect

    @property
    def family(self) -> str:
        return GENERATED_KINDS[self.kind].family


def aspect_of(name: str) -> str:
    """What a distortion or a generated kind makes worse.

    Raises:
        SupervisionError: no such distortion or kind.
    """
    return _find(name).aspect


def family_of(name: str) -> str:
    """The family of one, "conventional" or "ai_specific"; as `aspect_of`."""
    return _find(name).family


def read_generated(folder: str | os.PathLike[str]) -> list[GeneratedNegative]:
    """The negatives of a folder that passed the gate, their paths joined with it.

    Raises:
        SupervisionError: no list there, a line that is no negative, or an id that occurs twice.
    """
    path = Path(folder) / KEPT_NAME
    if not path.is_file():
        raise SupervisionError(
            f"{path}: no such list of generated negatives; make one with "
            "python -m training.make_negatives"
        )
    found: dict[str, GeneratedNegative] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = GeneratedNegative.from_json(json.loads(line))
        except (ValueError, SupervisionError) as error:
            said = str(error) if isinstance(error, SupervisionError) else "not JSON"
            raise SupervisionError(f"{path}, line {number}: {said}") from None
        if row.negative_id in found:
            raise SupervisionError(f"{path}, line {number}: {row.negative_id!r} occurs twice")
        found[row.negative_id] = row
    return [_joined(Path(folder), row) for row in found.values()]


def _joined(folder: Path, row: GeneratedNegative) -> GeneratedNegative:
    return GeneratedNegative(**{**vars(row), "path": str(folder / row.path)})


def _find(name: str) -> Any:
    found = DISTORTIONS.get(name) or GENERATED_KINDS.get(name)
    if found is None:
        raise SupervisionError(f"unknown distortion {name!r}")
    return found
