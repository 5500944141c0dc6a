"""config.json of a checkpoint: everything that makes a score, as a closed table of plain JSON.

No class names, no paths, no code: what is not in the tables below is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .location import allowed_root, is_hub_id
from .safetensors_checks import contained_file, read_json

__all__ = [
    "CARD_NAME",
    "CONFIG_NAME",
    "FORMAT",
    "FORMAT_VERSION",
    "IP_IQA_FORMAT",
    "READOUT",
    "TOKENIZER_NAME",
    "CheckpointConfig",
    "bad_value",
    "check_keys",
    "check_weight_files",
    "read_config",
]

FORMAT = "eliq-critic"
IP_IQA_FORMAT = "eliq-ip-iqa"  # of the second system, `eliq.ip_iqa`
FORMAT_VERSION = 1
READOUT = "last_hidden_state_after_norm"
CONFIG_NAME = "config.json"
TOKENIZER_NAME = "tokenizer.json"
CARD_NAME = "README.md"
BACKBONE_MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")
_NESTED_MODEL_TYPES = {
    kind + part for kind in BACKBONE_MODEL_TYPES for part in ("", "_text", "_vision")
}
_REQUIRED = {
    "format": str,
    "format_version": int,
    "model_type": str,
    "library_version": str,
    "backbone": dict,
    "head": dict,
    "instructions": dict,
    "patches": dict,
    "max_prompt_tokens": int,
    "readout": str,
    "calibration": dict,
    "weight_files": list,
}
_OPTIONAL = {"training": dict, "mos_calibration": dict}
_BACKBONE_REQUIRED = {"weights": str, "config": dict}
_BACKBONE_OPTIONAL = {"id": str, "revision": str, "adapter": dict}
_ADAPTER = {"rank": int, "scaling": float, "targets": list}
_SCORE_NAMES = {"visual_quality": dict, "alignment": dict}
# Keys by which transformers has been made to fetch or run code, or to allocate by a bare number.
_REFUSED_KEYS = re.compile(
    r"auto_map|.*remote_code.*|custom_.*|.*_implementation.*|num_labels|quantization_config"
)
_WEIGHT_FILE = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_REVISION = re.compile(r"[0-9a-f]{40}")
_LARGEST_INT = 1 << 24
_MOST_LAYERS = 1024


@dataclass(frozen=True)
class CheckpointConfig:
    """What config.json holds, checked for form; the parts are JSON of the classes they configure.

    Attributes:
        library_version: the eliq that wrote it.
        backbone: ``weights`` "inside" (every tensor is in the checkpoint) or "hub" (backbone from
            ``id`` at commit ``revision``; the checkpoint holds the head and, where ``adapter`` is
            present, LoRA tensors), ``config`` (of transformers).
        head, instructions, patches: of HeadConfig, Instructions, PatchConfig.
        max_prompt_tokens: cap on the prompt, in tokens of the backbone.
        calibration: ``visual_quality`` and ``alignment``, of Calibration (raw -> 0..1).
        weight_files: plain names of the safetensors files, in order.
        mos_calibration: like ``calibration``, fitted on opinion scores; empty = none.
        training: free-form facts for the model card.

    Raises:
        CheckpointError: anything else, a key that is not named here, or an unsafe value.
    """

    library_version: str
    backbone: dict[str, Any]
    head: dict[str, Any]
    instructions: dict[str, Any]
    patches: dict[str, Any]
    max_prompt_tokens: int
    calibration: dict[str, Any]
    weight_files: tuple[str, ...] = ("model.safetensors",)
    mos_calibration: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_backbone(self.backbone)
        check_keys("calibration", self.calibration, _SCORE_NAMES)
        if self.mos_calibration:
            check_keys("mos_calibration", self.mos_calibration, {}, _SCORE_NAMES)
        if not 1 <= self.max_prompt_tokens <= 1 << 16:
            raise bad_value("max_prompt_tokens", "1 to 65536", self.max_prompt_tokens)
        check_weight_files(self.weight_files)

    @property
    def is_inside(self) -> bool:
        """Whether the backbone's own tensors are in the checkpoint."""
        return self.backbone["weights"] == "inside"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` is its inverse."""
        data = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "model_type": "eliq",
            "library_version": self.library_version,
            "backbone": self.backbone,
            "head": self.head,
            "instructions": self.instructions,
            "patches": self.patches,
            "max_prompt_tokens": self.max_prompt_tokens,
            "readout": READOUT,
            "calibration": self.calibration,
            "weight_files": list(self.weight_files),
            "training": self.training,
        }
        if self.mos_calibration:
            data["mos_calibration"] = self.mos_calibration
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CheckpointConfig:
        """The config of parsed JSON.

        Raises:
            CheckpointError: see the class.
        """
        if data.get("format") != FORMAT:
            advice = "name a checkpoint of eliq"
            if data.get("format") == IP_IQA_FORMAT:
                advice = "it is an IP-IQA model: load it with eliq.load_scorer"
            raise bad_value("format", repr(FORMAT), data.get("format"), advice)
        if data.get("format_version") != FORMAT_VERSION or data["format_version"] is True:
            raise bad_value(
                "format_version", str(FORMAT_VERSION), data.get("format_version"), "update eliq"
            )
        check_keys("config.json", data, _REQUIRED, _OPTIONAL)
        if data["model_type"] != "eliq":
            raise bad_value("model_type", "'eliq'", data["model_type"])
        if data["readout"] != READOUT:
            raise bad_value("readout", repr(READOUT), data["readout"], "update eliq")
        own = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        return cls(**own | {"weight_files": tuple(data["weight_files"])})


def read_config(directory: Path) -> CheckpointConfig:
    """The checked config.json of a checkpoint directory.

    Raises:
        CheckpointError: missing, unreadable or refused; the message names the file.
    """
    path = contained_file(directory, CONFIG_NAME, root=allowed_root(directory))
    data = read_json(path)
    try:
        return CheckpointConfig.from_json(data)
    except CheckpointError as error:
        raise CheckpointError(f"{directory / CONFIG_NAME}: {error}") from None


def bad_value(name: str, expected: str, found: object, advice: str = "") -> CheckpointError:
    """The refusal of a value of config.json, in one line."""
    advice = advice or "correct the file, or get the checkpoint again"
    return CheckpointError(f"{name}: expected {expected}, found {repr(found)[:100]}: {advice}")


def check_keys(
    where: str,
    data: Mapping[str, Any],
    required: Mapping[str, type],
    optional: Mapping[str, type] | None = None,
) -> None:
    """Refuse unknown and missing keys, and values of another type.

    Raises:
        CheckpointError: as above.
    """
    known = {**required, **(optional or {})}
    if not isinstance(data, Mapping):
        raise bad_value(where, "a JSON object", data)
    if unknown := sorted(data.keys() - known.keys()):
        raise bad_value(where, f"only the keys {', '.join(known)}", unknown[0], "update eliq")
    if missing := sorted(required.keys() - data.keys()):
        raise bad_value(where, f"the key {missing[0]}", "none")
    for name, value in data.items():
        wanted = known[name]
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise bad_value(f"{where}.{name}", f"{wanted.__name__}", type(value).__name__)


def check_weight_files(names: tuple[str, ...]) -> None:
    """Refuse names of weight files that are not plain, or that occur twice.

    Raises:
        CheckpointError: as above.
    """
    if not 1 <= len(names) <= 1024:
        raise bad_value("weight_files", "1 to 1024 files", len(names))
    for name in names:
        if not isinstance(name, str) or not _WEIGHT_FILE.fullmatch(name):
            raise bad_value(
                "weight_files", "plain names like model.safetensors, without a path", name
            )
    if len(set(names)) != len(names):
        raise bad_value("weight_files", "each name once", list(names))


def _check_backbone(backbone: dict[str, Any]) -> None:
    check_keys("backbone", backbone, _BACKBONE_REQUIRED, _BACKBONE_OPTIONAL)
    if backbone["weights"] not in ("inside", "hub"):
        raise bad_value("backbone.weights", "'inside' or 'hub'", backbone["weights"])
    if backbone["weights"] == "hub":
        if not is_hub_id(backbone.get("id", "")):
            raise bad_value("backbone.id", "a hub id of the form owner/name", backbone.get("id"))
        if not _REVISION.fullmatch(backbone.get("revision", "")):
            raise bad_value(
                "backbone.revision", "a commit of 40 hex digits", backbone.get("revision")
            )
    elif "adapter" in backbone:
        raise bad_value(
            "backbone.adapter", "none beside weights 'inside'", "an adapter", "merge it"
        )
    if "adapter" in backbone:
        check_keys("backbone.adapter", backbone["adapter"], _ADAPTER)
        targets = backbone["adapter"]["targets"]
        if not all(isinstance(t, str) and re.fullmatch(r"[\w.]{1,200}", t) for t in targets):
            raise bad_value("backbone.adapter.targets", "names of modules", targets)
        if not 1 <= backbone["adapter"]["rank"] <= 4096:
            raise bad_value("backbone.adapter.rank", "1 to 4096", backbone["adapter"]["rank"])
    if backbone["config"].get("model_type") not in BACKBONE_MODEL_TYPES:
        raise bad_value(
            "backbone.config.model_type",
            " or ".join(BACKBONE_MODEL_TYPES),
            backbone["config"].get("model_type"),
            "other backbones cannot be loaded from a checkpoint",
        )
    _check_transformers_config("backbone.config", backbone["config"])


def _check_transformers_config(where: str, value: Any) -> None:
    """Refuse what could make transformers run code, reach a file, or build without end."""
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{where}.{key[:80]}"
            if _REFUSED_KEYS.fullmatch(key):
                raise bad_value(
                    name, "no such key", key, "remove it if you trust the checkpoint's maker"
                )
            if key == "model_type" and inner not in _NESTED_MODEL_TYPES:
                raise bad_value(name, f"one of {sorted(_NESTED_MODEL_TYPES)}", inner)
            layers = key in ("num_hidden_layers", "depth", "num_experts")
            if layers and not (type(inner) is int and 1 <= inner <= _MOST_LAYERS):
                raise bad_value(name, f"1 to {_MOST_LAYERS}", inner)
            _check_transformers_config(name, inner)
    elif isinstance(value, list):
        if len(value) > _MOST_LAYERS:
            raise bad_value(where, f"at most {_MOST_LAYERS} entries", len(value))
        for inner in value:
            _check_transformers_config(where, inner)
    elif isinstance(value, str):
        if not re.fullmatch(r"[\w.\- ]{0,80}", value) or "--" in value:
            raise bad_value(where, "a short plain word", value)
    elif isinstance(value, int) and abs(value) > _LARGEST_INT:
        raise bad_value(where, f"at most {_LARGEST_INT}", value)
