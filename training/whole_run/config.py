"""The config of a whole run, as plain JSON: the settings of each step under the step's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from eliq.errors import ConfigError
from eliq.supervision import SupervisionConfig

from ..evaluation import READERS, EvaluationConfig
from ..field_types import check_types
from ..negatives import NegativesConfig
from ..positives import PositivesConfig
from ..stage1_config import Stage1Config
from ..stage2_config import Stage2Config

__all__ = ["BackboneChoice", "EvaluationChoice", "RunConfig"]

_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class BackboneChoice:
    """What the critic is tuned from: as `--backbone`, `--revision`, `--dtype` and `--max-pixels`
    of `training.train_critic`."""

    name: str = "embedded"
    revision: str | None = None
    dtype: str = "float32"
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        check_types(self, "backbone")
        if not self.name:
            raise ConfigError("backbone.name: expected a name, found none")
        if self.max_pixels is not None and self.max_pixels < 1:
            raise ConfigError(f"backbone.max_pixels: expected 1 or more, found {self.max_pixels}")
        if self.dtype not in _DTYPES:
            raise ConfigError(
                f"backbone.dtype: expected {' or '.join(_DTYPES)}, found {self.dtype!r}"
            )


@dataclass(frozen=True)
class EvaluationChoice:
    """Which benchmarks the critic is held against.

    Attributes:
        sets: benchmark name -> where it lies; none = no evaluation.
        zero_shot: a bare model as the baseline; "auto" = the critic's own, "none" = left out.
        pyiqa: metrics of pyiqa as further baselines.
        settings: how it is measured.
    """

    sets: Mapping[str, str] = field(default_factory=dict)
    zero_shot: str = "auto"
    pyiqa: tuple[str, ...] = ()
    settings: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        if isinstance(self.pyiqa, list):
            object.__setattr__(self, "pyiqa", tuple(self.pyiqa))
        check_types(self, "evaluation")
        sets = self.sets if isinstance(self.sets, Mapping) else {"": None}
        if not set(sets) <= set(READERS) or not all(isinstance(p, str) for p in sets.values()):
            raise ConfigError(
                f"evaluation.sets: expected names of {', '.join(READERS)} with paths, found "
                f"{self.sets!r}"
            )


@dataclass(frozen=True)
class RunConfig:
    """From prompts or images to an evaluated critic.

    Attributes:
        images: a user's own positives with prompts; None = they are generated (`positives`).
        prompts: a list of prompts to generate from, or of the prompts of `images`; None = the
            shipped 400, or the list in `images`.
        max_prompts: only the first so many of them.
        positives: models of the positives. With `images` they make nothing but the negatives.
        negatives: generated negatives; None = distortions and simulated ones alone, the default
            with `images`. Its `supervision` is then that of the set. Their models are those of
            `positives`, where it is given or there are no `images`.
        supervision: of the set, where `negatives` is None.
        backbone, stage1, stage2: of the training; what `stage1` and `stage2` leave out follows the
            size of the backbone.
        held_out_share: of the prompts, for validation and calibration.
        evaluation: may be changed between runs.
        num_workers: processes that write the set.
        seed: of every step that has none of its own in its section.

    Raises:
        ConfigError: a value or a key that a step refuses; the message names it.
    """

    images: str | None = None
    prompts: str | None = None
    max_prompts: int | None = None
    positives: PositivesConfig = field(default_factory=PositivesConfig)
    negatives: NegativesConfig | None = None
    supervision: SupervisionConfig = SupervisionConfig()
    backbone: BackboneChoice = BackboneChoice()
    stage1: Mapping[str, Any] = field(default_factory=dict)
    stage2: Mapping[str, Any] = field(default_factory=dict)
    held_out_share: float = 0.1
    evaluation: EvaluationChoice = EvaluationChoice()
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        if self.num_workers < 0:
            raise ConfigError(f"num_workers: expected 0 or more, found {self.num_workers}")
        if not 0 < self.held_out_share < 1:
            raise ConfigError(
                f"held_out_share: expected a share between 0 and 1, found {self.held_out_share}"
            )
        if self.max_prompts is not None and self.max_prompts < 2:
            raise ConfigError(f"max_prompts: expected 2 or more, found {self.max_prompts}")
        Stage1Config.from_json(self.stage1)  # a misspelt key is said now, not after a day
        Stage2Config.from_json(self.stage2)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` is its inverse."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        choice = self.evaluation
        data |= {
            "positives": self.positives.to_json(),
            "negatives": self.negatives.to_json() if self.negatives else None,
            "supervision": self.supervision.to_json(),
            "backbone": dict(vars(self.backbone)),
            "stage1": dict(self.stage1),
            "stage2": dict(self.stage2),
            "evaluation": {
                "sets": dict(choice.sets),
                "zero_shot": choice.zero_shot,
                "pyiqa": list(choice.pyiqa),
                "settings": choice.settings.to_json(),
            },
        }
        if self.negatives is not None:
            del data["supervision"]  # it stands in negatives
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunConfig:
        """What is left out takes its default; `negatives` is left out with false or null.

        Raises:
            ConfigError: see the class.
        """
        _known(cls, data, "the config")
        values, seed = dict(data), {"seed": data.get("seed", 0)}
        positives = PositivesConfig.from_json({**seed, **_section(data, "positives")})
        given = values.pop("negatives", None if values.get("images") else {})
        negatives = None
        if isinstance(given, Mapping):
            # With images and no models named: those that the folder says, or the defaults.
            are_named = "positives" in data or not values.get("images")
            models = {"models": positives.models} if are_named else {}
            negatives = NegativesConfig.from_json({**models, **seed, **given})
            if "supervision" in values:
                raise ConfigError(
                    "supervision: with negatives the set is described by negatives.supervision"
                )
        elif given:
            raise ConfigError(f"negatives: expected an object or null, found {given!r}")
        evaluation = _section(data, "evaluation")
        _known(EvaluationChoice, evaluation, "evaluation")
        evaluation["settings"] = EvaluationConfig.from_json(
            {**seed, **_section(evaluation, "settings", inside="evaluation.")}
        )
        backbone = _section(data, "backbone")
        _known(BackboneChoice, backbone, "backbone")
        sections = {
            "positives": positives,
            "negatives": negatives,
            "supervision": SupervisionConfig.from_json({**seed, **_section(data, "supervision")}),
            "backbone": BackboneChoice(**backbone),
            "stage1": _section(data, "stage1"),
            "stage2": _section(data, "stage2"),
            "evaluation": EvaluationChoice(**evaluation),
        }
        return cls(**{**values, **sections})


def _section(data: Mapping[str, Any], name: str, *, inside: str = "") -> dict[str, Any]:
    section = data.get(name, {})
    if not isinstance(section, Mapping):
        raise ConfigError(f"{inside}{name}: expected an object, found {section!r}")
    return dict(section)


def _known(cls: type, data: Mapping[str, Any], where: str) -> None:
    known = [one.name for one in fields(cls)]
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
