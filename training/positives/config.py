"""Settings of a set of positives, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eliq.errors import ConfigError

from .models import DEFAULT_MODELS, ModelSettings, model_settings

__all__ = ["PositivesConfig"]


@dataclass(frozen=True)
class PositivesConfig:
    """One image of each model for each prompt.

    Attributes:
        models: in the order in which they are loaded, one at a time.
        seed: every image's seed follows from it, the model's name and the prompt.
        max_tries: seeds that are tried where an image is unusable (NaN, one colour, replaced by a
            safety checker) before the prompt is left out for that model.
        generator_device: where the noise is drawn; "cpu" gives the same noise on every machine.

    Raises:
        ConfigError: a value outside what it may be, or two models of one name.
    """

    models: tuple[ModelSettings, ...] = DEFAULT_MODELS
    seed: int = 0
    max_tries: int = 3
    generator_device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(model_settings(one) for one in self.models))
        if not self.models:
            raise ConfigError("models: expected at least one, found none")
        names = [one.name for one in self.models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"models: expected one name a model, found {twice[0]!r} twice")
        for key, least in (("seed", 0), ("max_tries", 1)):
            value = getattr(self, key)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"positives.{key}: expected a whole number of at least {least}, found {value!r}"
                )

    def to_json(self) -> dict[str, Any]:
        return {
            "models": [one.to_json() for one in self.models],
            "seed": self.seed,
            "max_tries": self.max_tries,
            "generator_device": self.generator_device,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PositivesConfig:
        """Models may be hub ids, or objects with what differs from the settings known here.

        Raises:
            ConfigError: a key that it does not know, or a value of a wrong type.
        """
        known = ("models", "seed", "max_tries", "generator_device")
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ConfigError(
                f"positives: unknown key {unknown[0]!r}; known are {', '.join(known)}"
            )
        values = dict(data)
        if isinstance(values.get("models", []), (str, Mapping)):
            raise ConfigError("positives.models: expected a list, found one value")
        if "models" in values:
            values["models"] = tuple(model_settings(one) for one in values["models"])
        return cls(**values)
