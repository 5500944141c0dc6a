"""Rows of a supervision set: one tuple of Eq. 1, or one ladder of severities, as plain data.

Paths in rows are relative to the folder of the manifest, with forward slashes; `manifest.py` joins
them on reading. `size` is [height, width] in px and `codec` "png" or "jpeg-q<quality>": both hold
for every image of the row, so that neither tells a positive from a negative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from ..errors import SupervisionError
from .distortions import FAMILIES
from .generated import GENERATED_KINDS, aspect_of

__all__ = ["PROMPT_KINDS", "LadderRow", "LadderStep", "Negative", "TupleRow", "is_codec"]

#: What was done to the prompt of an alignment negative.
#: "variant": the prompt of another image of the set, made from an edit of this one's prompt.
PROMPT_KINDS = ("shuffle", "object", "colour", "count", "relation", "background", "variant")
_CODEC = re.compile(r"png|jpeg-q([1-9]\d?|100)")


@dataclass(frozen=True)
class Negative:
    """One worse image and what was done: a distortion, or a kind of `generated.GENERATED_KINDS`.

    `severity` is None only where a generated kind knows none.
    """

    path: str
    distortion: str
    severity: float | None
    parameters: dict[str, Any]

    def __post_init__(self) -> None:
        aspect_of(self.distortion)
        if self.severity is not None or self.distortion not in GENERATED_KINDS:
            _check_severity(self.severity)


@dataclass(frozen=True)
class LadderStep:
    """One step of a ladder: the same damage at one severity."""

    path: str
    severity: float
    parameters: dict[str, Any]

    def __post_init__(self) -> None:
        _check_severity(self.severity)


@dataclass(frozen=True)
class TupleRow:
    """(I+, I-tec, I-aes, p, p-ali) of Eq. 1 and where it comes from.

    `prompt_group` is the prompt that `prompt` is a variant of, "" where it is none: a split by
    prompt keeps a group together.
    """

    tuple_id: str
    seed: int
    family: str
    prompt: str
    negative_prompt: str
    negative_prompt_kind: str
    positive: str
    technical: Negative
    aesthetic: Negative
    source: str
    size: tuple[int, int]
    codec: str
    prompt_group: str = ""

    def __post_init__(self) -> None:
        _check_common(self.tuple_id, self.family, self.size, self.codec)
        if self.negative_prompt_kind not in PROMPT_KINDS:
            raise SupervisionError(
                f"negative_prompt_kind must be one of {', '.join(PROMPT_KINDS)}, "
                f"found {self.negative_prompt_kind!r}"
            )
        if not self.prompt.strip() or not self.negative_prompt.strip():
            raise SupervisionError("prompt and negative_prompt must not be empty")
        if self.prompt.casefold().split() == self.negative_prompt.casefold().split():
            raise SupervisionError("negative_prompt is the same as prompt")
        for aspect in ("technical", "aesthetic"):
            name = getattr(self, aspect).distortion
            if aspect_of(name) != aspect:
                raise SupervisionError(
                    f"the {aspect} negative has a {aspect_of(name)} distortion, {name!r}"
                )

    def to_json(self) -> dict:
        return _plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TupleRow:
        """Raises SupervisionError naming the key that is missing, unknown or of a wrong type."""
        values = _fields(cls, data)
        values["size"] = _size(values["size"])
        for aspect in ("technical", "aesthetic"):
            values[aspect] = Negative(**_fields(Negative, values[aspect], inside=aspect))
        return _with_paths_inside(cls(**values))

    @property
    def paths(self) -> tuple[str, ...]:
        """Positive, technical, aesthetic."""
        return (self.positive, self.technical.path, self.aesthetic.path)


@dataclass(frozen=True)
class LadderRow:
    """A positive and the same damage to it at rising severities."""

    ladder_id: str
    seed: int
    family: str
    aspect: str
    distortion: str
    prompt: str
    positive: str
    steps: tuple[LadderStep, ...]
    source: str
    size: tuple[int, int]
    codec: str

    def __post_init__(self) -> None:
        _check_common(self.ladder_id, self.family, self.size, self.codec)
        if self.aspect != aspect_of(self.distortion):
            raise SupervisionError(f"{self.distortion!r} is no distortion of the {self.aspect!r}")
        severities = [step.severity for step in self.steps]
        if not severities or severities != sorted(set(severities)):
            raise SupervisionError(f"steps must rise strictly in severity, found {severities}")

    def to_json(self) -> dict:
        return _plain(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LadderRow:
        """Raises SupervisionError naming the key that is missing, unknown or of a wrong type."""
        values = _fields(cls, data)
        values["size"] = _size(values["size"])
        if not isinstance(values["steps"], list):
            raise SupervisionError("'steps' must be a list")
        values["steps"] = tuple(
            LadderStep(**_fields(LadderStep, step, inside="steps")) for step in values["steps"]
        )
        return _with_paths_inside(cls(**values))

    @property
    def paths(self) -> tuple[str, ...]:
        """The positive, then the steps from mild to severe."""
        return (self.positive, *(step.path for step in self.steps))


_TYPES = {
    "str": str,
    "int": int,
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "dict[str, Any]": Mapping,
    "tuple[int, int]": (list, tuple),
    "tuple[LadderStep, ...]": list,
    "Negative": Mapping,
}


def _fields(cls: type, data: Any, inside: str = "") -> dict[str, Any]:
    """The values of a dataclass from a JSON object: no key missing, none unknown, types right."""
    where = f" in {inside!r}" if inside else ""
    if not isinstance(data, Mapping):
        raise SupervisionError(f"expected a JSON object{where}, found {type(data).__name__}")
    expected = {name: str(f.type) for name, f in cls.__dataclass_fields__.items()}
    optional = {name for name, f in cls.__dataclass_fields__.items() if f.default is not MISSING}
    for problem, keys in (
        ("is missing", expected.keys() - data.keys() - optional),
        ("is unknown", data.keys() - expected.keys()),
    ):
        if keys:
            raise SupervisionError(f"key {sorted(keys)[0]!r}{where} {problem}")
    for name, kind in ((name, expected[name]) for name in expected if name in data):
        if not isinstance(data[name], _TYPES[kind]) or isinstance(data[name], bool):
            raise SupervisionError(
                f"{name!r}{where} must be a {kind}, found {type(data[name]).__name__}"
            )
    return dict(data)


def _size(value: Any) -> tuple[int, int]:
    if len(value) != 2 or not all(isinstance(v, int) and v > 0 for v in value):
        raise SupervisionError(f"'size' must be [height, width] in px, found {list(value)}")
    return (value[0], value[1])


def _plain(row: TupleRow | LadderRow) -> dict:
    data = asdict(row)
    data["size"] = list(row.size)
    if not data.get("prompt_group", True):
        del data["prompt_group"]  # as in sets from before there were groups
    if "steps" in data:
        data["steps"] = list(data["steps"])
    return data


def is_codec(codec: str) -> bool:
    """Whether this is "png" or "jpeg-q1" to "jpeg-q100"."""
    return bool(_CODEC.fullmatch(codec))


def _check_common(row_id: str, family: str, size: tuple[int, int], codec: str) -> None:
    if not row_id:
        raise SupervisionError("the id of a row must not be empty")
    if family not in FAMILIES:
        raise SupervisionError(f"family must be one of {', '.join(FAMILIES)}, found {family!r}")
    if min(size) < 1:
        raise SupervisionError(f"size must be positive, found {list(size)}")
    if not is_codec(codec):
        raise SupervisionError(f'codec must be "png" or e.g. "jpeg-q92", found {codec!r}')


def _with_paths_inside(row: Any) -> Any:
    """The row, once its paths stay inside the folder of the manifest."""
    for path in row.paths:
        parts = PurePosixPath(path)
        if not path or "\\" in path or parts.is_absolute() or ".." in parts.parts:
            raise SupervisionError(f"paths must stay inside the manifest's folder, found {path!r}")
    return row


def _check_severity(severity: float | None) -> None:
    if severity is None or not 1 <= severity <= 5:
        raise SupervisionError(f"severity must lie in 1..5, found {severity}")
