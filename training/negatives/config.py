"""Settings of generated negatives and of the gate, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from eliq.errors import ConfigError
from eliq.supervision import GENERATED_KINDS, SupervisionConfig

from ..positives import DEFAULT_MODELS, ModelSettings, model_settings

__all__ = ["DEFAULT_SHARES", "WEAK_MODELS", "GateConfig", "NegativesConfig"]

#: The low-quality generators of section 3.2.3.
WEAK_MODELS = (
    "CompVis/stable-diffusion-v1-1",
    "CompVis/stable-diffusion-v1-4",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
)
DEFAULT_SHARES: Mapping[str, float] = MappingProxyType(
    {kind: 1.0 if kind == "instruction_edit" else 0.5 for kind in GENERATED_KINDS}
)


@dataclass(frozen=True)
class GateConfig:
    """What a negative must show to be kept.

    Attributes:
        scorer: whose opinion is asked: "embedded", the directory or hub id of a critic,
            "zero-shot:" and a Qwen-VL, "pyiqa:" and a metric without reference, or "none".
        min_margin: by how much the positive must be better in the aspect: in logits of P(high) for
            a critic or a zero-shot model, in the metric's own units for pyiqa.
        max_detail_ratio: of an early decode, the energy of its detail over that of the positive;
            above it the decode is not less finished than the positive.
        min_difference: root mean square in 8-bit levels below which a negative is its positive.

    Raises:
        ConfigError: a value outside what it may be.
    """

    scorer: str = "embedded"
    min_margin: float = 0.25
    max_detail_ratio: float = 0.9
    min_difference: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.scorer, str) or not self.scorer.strip():
            raise ConfigError(f"gate.scorer: expected a name or 'none', found {self.scorer!r}")
        for name, least in (("min_margin", None), ("max_detail_ratio", 0), ("min_difference", 0)):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not is_number or value != value or (least is not None and value < least):
                raise ConfigError(f"gate.{name}: expected a number, found {value!r}")

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GateConfig:
        """Raises ConfigError for keys that no config has."""
        return cls(**_known(cls, data, "gate"))


@dataclass(frozen=True)
class NegativesConfig:
    """Which negatives are generated, by which models, and what set they go into.

    Attributes:
        models: high-quality generators; None = those that made the positives, as their folder says
            (`training.make_positives`), or the defaults of positives. A positive's own one makes
            its degraded prompts, early decodes and variants, so that the generator tells nothing;
            for a positive of another model one is drawn.
        weak_models: low-quality generators, one drawn for each positive.
        editor: an instruction-editing pipeline such as Qwen/Qwen-Image-Edit; None = none, and
            conventional aesthetic negatives are edits of pixels alone.
        shares: by kind, the share of positives that get one, 0..1.
        early_fractions: of the run, where one is decoded; drawn for each positive.
        seed: every choice and every image's seed follow from it.
        max_tries: seeds that are tried where an image is unusable.
        generator_device: where the noise is drawn.
        tuples_per_positive, ladders_per_positive: rows of the set, where `supervision` says 0.
        gate: what is kept.
        supervision: of the set; its seed stands on its own.

    Raises:
        ConfigError: a value outside what it may be, two models of one name, or a model whose
            images would have to be enlarged to the size of the set.
    """

    models: tuple[ModelSettings, ...] | None = None
    weak_models: tuple[ModelSettings, ...] = WEAK_MODELS  # names, until __post_init__
    editor: ModelSettings | None = None
    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    early_fractions: tuple[float, ...] = (0.2, 0.3, 0.4)
    seed: int = 0
    max_tries: int = 3
    generator_device: str = "cpu"
    tuples_per_positive: int = 3
    ladders_per_positive: int = 1
    gate: GateConfig = GateConfig()
    supervision: SupervisionConfig = SupervisionConfig(
        num_tuples=0, num_ladders=0, ai_specific_share=0.5
    )

    def __post_init__(self) -> None:
        for key in ("models", "weak_models"):
            given = getattr(self, key)
            if given is not None:
                object.__setattr__(self, key, tuple(model_settings(one) for one in given))
        if self.editor is not None:
            object.__setattr__(self, "editor", model_settings(self.editor))
        names = [one.name for one in self.all_models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(
                f"negatives: expected one name a model, found {twice[0]!r} twice: give one of them "
                "another name"
            )
        self._check_sizes()
        unknown = sorted(set(self.shares) - set(GENERATED_KINDS))
        if unknown:
            known = ", ".join(GENERATED_KINDS)
            raise ConfigError(f"shares: unknown kind {unknown[0]!r}; known are {known}")
        # Kinds that are not named are not made.
        object.__setattr__(
            self, "shares", {kind: self.shares.get(kind, 0.0) for kind in GENERATED_KINDS}
        )
        for kind, share in self.shares.items():
            if not isinstance(share, (int, float)) or not 0 <= share <= 1:
                raise ConfigError(f"shares.{kind}: expected a number in 0..1, found {share!r}")
        object.__setattr__(self, "early_fractions", tuple(self.early_fractions))
        if not self.early_fractions or not all(0 < f < 1 for f in self.early_fractions):
            raise ConfigError(
                f"early_fractions: expected fractions between 0 and 1, found {self.early_fractions}"
            )
        for key, least in (
            ("seed", 0), ("max_tries", 1), ("tuples_per_positive", 0), ("ladders_per_positive", 0)
        ):  # fmt: skip
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"negatives.{key}: expected a whole number of at least {least}, found {value!r}"
                )

    @property
    def generators(self) -> tuple[ModelSettings, ...]:
        """The high-quality ones."""
        return DEFAULT_MODELS if self.models is None else self.models

    @property
    def all_models(self) -> tuple[ModelSettings, ...]:
        """In the order in which they are loaded."""
        return self.generators + self.weak_models + ((self.editor,) if self.editor else ())

    def _check_sizes(self) -> None:
        """Before hours of generating: no negative is enlarged, so a small one would be dropped."""
        sizes = [max(one.height or 0, one.width or 0) for one in self.generators]
        least = self.supervision.max_side_px
        if all(sizes):  # positives that are smaller stay so in the set
            least = min(least, max(sizes))
        for one in self.weak_models:
            if one.height and one.width and max(one.height, one.width) < least:
                raise ConfigError(
                    f"{one.name}: expected images of {least} px or more, as the positives have in "
                    f"the set, found {one.height} x {one.width}: the gate would drop them, since "
                    "enlarging would tell them apart; give the model a larger height and width, "
                    "or lower supervision.max_side_px"
                )

    def to_json(self) -> dict[str, Any]:
        return {
            **{one.name: getattr(self, one.name) for one in fields(self)},
            "models": None if self.models is None else [one.to_json() for one in self.models],
            "weak_models": [one.to_json() for one in self.weak_models],
            "editor": self.editor.to_json() if self.editor else None,
            "shares": dict(self.shares),
            "early_fractions": list(self.early_fractions),
            "gate": self.gate.to_json(),
            "supervision": self.supervision.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> NegativesConfig:
        """Models may be hub ids, or objects with what differs from the settings known here; of
        `supervision` and `gate` only what differs from the defaults is needed.

        Raises:
            ConfigError: a key that it does not know, or a value of a wrong type.
        """
        values = _known(cls, data, "negatives")
        for key in ("models", "weak_models", "early_fractions"):
            if isinstance(values.get(key, []), (str, Mapping)):
                raise ConfigError(f"negatives.{key}: expected a list, found one value")
        if "shares" in values and not isinstance(values["shares"], Mapping):
            raise ConfigError("negatives.shares: expected an object of kinds and shares")
        if "gate" in values:
            values["gate"] = GateConfig.from_json(values["gate"])
        if "supervision" in values:
            default = cls.__dataclass_fields__["supervision"].default.to_json()
            values["supervision"] = SupervisionConfig.from_json(
                {**default, **values["supervision"]}
            )
        return cls(**values)


def _known(cls: type, data: Any, what: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{what}: expected an object, found {type(data).__name__}")
    known = [one.name for one in fields(cls)]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ConfigError(f"{what}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    return dict(data)
