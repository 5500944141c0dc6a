"""Which diffusers models make the positives, and how each is called: plain data.

The three of the paper (section 3.2.2) with the steps, guidance and sizes that their model cards
name; the paper's own settings are in an appendix that is not public. None of them was run here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import PurePath
from typing import Any

from eliq.errors import ConfigError

__all__ = ["DEFAULT_MODELS", "KNOWN_MODELS", "ModelSettings", "model_settings"]

DTYPES = ("bfloat16", "float16", "float32")
OFFLOADS = ("none", "model")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


@dataclass(frozen=True)
class ModelSettings:
    """One model and its call.

    Attributes:
        model: hub id, directory, or one of `training.tiny_pipelines`.
        name: of its folder, and what the seeds of its images depend on; "" = the last part of
            `model` in small letters.
        revision: commit or tag of a hub id; None = the newest, which the records then name.
        dtype: of the weights: "bfloat16", "float16" or "float32" (on a CPU always float32).
        offload: "none", or "model" = `enable_model_cpu_offload`, slower in less memory.
        height, width: of the image in px; None = the pipeline's default.
        num_inference_steps: None = the pipeline's default.
        call: further arguments of the pipeline's call (guidance, negative_prompt, ...), plain JSON.

    Raises:
        ConfigError: a value outside what it may be.
    """

    model: str
    name: str = ""
    revision: str | None = None
    dtype: str = "bfloat16"
    offload: str = "none"
    height: int | None = None
    width: int | None = None
    num_inference_steps: int | None = None
    call: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise ConfigError(f"model: expected a hub id or a directory, found {self.model!r}")
        if not self.name:
            last = PurePath(self.model).name.lower()
            object.__setattr__(self, "name", re.sub(r"[^a-z0-9._-]+", "-", last).strip("-._"))
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.model}: expected a name of small letters, digits, dots, - and _ for its "
                f"folder, found {self.name!r}: give one as name"
            )
        for key, allowed in (("dtype", DTYPES), ("offload", OFFLOADS)):
            if getattr(self, key) not in allowed:
                raise ConfigError(
                    f"{self.name}.{key}: expected one of {', '.join(allowed)}, found "
                    f"{getattr(self, key)!r}"
                )
        for key in ("height", "width", "num_inference_steps"):
            value = getattr(self, key)
            is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if value is not None and not is_count:
                raise ConfigError(
                    f"{self.name}.{key}: expected a whole number above 0, found {value!r}"
                )
        if not isinstance(self.call, Mapping):
            raise ConfigError(f"{self.name}.call: expected an object, found {self.call!r}")

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of the pipeline's call, the prompt and generator left out."""
        own = {key: getattr(self, key) for key in ("height", "width", "num_inference_steps")}
        return {**{key: value for key, value in own.items() if value is not None}, **self.call}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "call": dict(self.call)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelSettings:
        """Raises ConfigError on a key that it does not know, or where `model` is missing."""
        known = [one.name for one in fields(cls)]
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ConfigError(f"models: unknown key {unknown[0]!r}; known are {', '.join(known)}")
        if "model" not in data:
            raise ConfigError("models: expected a hub id or directory as model, found none")
        return cls(**data)


DEFAULT_MODELS = (
    ModelSettings(
        "Qwen/Qwen-Image",
        height=1328,
        width=1328,
        num_inference_steps=50,
        call={"true_cfg_scale": 4.0, "negative_prompt": " "},
    ),
    ModelSettings(
        "black-forest-labs/FLUX.1-dev",
        height=1024,
        width=1024,
        num_inference_steps=50,
        call={"guidance_scale": 3.5, "max_sequence_length": 512},
    ),
    ModelSettings(
        "stabilityai/stable-diffusion-3.5-large",
        height=1024,
        width=1024,
        num_inference_steps=28,
        call={"guidance_scale": 3.5},
    ),
)

_STABLE_DIFFUSION_1 = {
    "dtype": "float16", "height": 512, "width": 512, "num_inference_steps": 50,
    "call": {"guidance_scale": 7.5},
}  # fmt: skip
_TINY = {"dtype": "float32", "height": 96, "width": 96, "num_inference_steps": 4}

#: Settings by hub id or name: the positives' models, the weak ones of section 3.2.3 (Stable
#: Diffusion 1.1, 1.4, 1.5), its editor, and the random ones of smoke runs.
KNOWN_MODELS: dict[str, ModelSettings] = {
    settings.model: settings
    for settings in (
        *DEFAULT_MODELS,
        ModelSettings("CompVis/stable-diffusion-v1-1", **_STABLE_DIFFUSION_1),
        ModelSettings("CompVis/stable-diffusion-v1-4", **_STABLE_DIFFUSION_1),
        ModelSettings("stable-diffusion-v1-5/stable-diffusion-v1-5", **_STABLE_DIFFUSION_1),
        # Edits a picture as told; its size follows the picture's shape.
        ModelSettings(
            "Qwen/Qwen-Image-Edit",
            num_inference_steps=50,
            call={"true_cfg_scale": 4.0, "negative_prompt": " "},
        ),
        ModelSettings("tiny-sd", **_TINY),
        ModelSettings("tiny-edit", dtype="float32", num_inference_steps=4),
        ModelSettings("tiny-flux", **_TINY, call={"max_sequence_length": 64}),
    )
}


def model_settings(given: str | Mapping[str, Any] | ModelSettings) -> ModelSettings:
    """Settings of a model that a user names: known ones by id, others with the pipeline's defaults.

    Args:
        given: a hub id or directory, or an object with `model` and what is set besides; what it
            leaves out is taken from the known settings of that model.

    Raises:
        ConfigError: neither, or a value outside what it may be.
    """
    if isinstance(given, ModelSettings):
        return given
    if isinstance(given, str):
        return KNOWN_MODELS.get(given) or ModelSettings(given)
    if not isinstance(given, Mapping):
        raise ConfigError(f"models: expected hub ids or objects, found {type(given).__name__}")
    known = KNOWN_MODELS.get(str(given.get("model")))
    return ModelSettings.from_json({**(known.to_json() if known else {}), **given})
