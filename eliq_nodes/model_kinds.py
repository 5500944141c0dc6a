"""The two kinds of model that ELIQ Load Critic takes, and their files. Nothing of ComfyUI.

A critic is a trained model of either system: label-free, or IP-IQA.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..eliq.checkpoint.config import read_config
from ..eliq.checkpoint.location import BACKBONE_FILES
from ..eliq.errors import CheckpointError
from ..eliq.hub import check_is_qwen_vl
from ..eliq.loading import system_of

__all__ = ["CRITIC", "FILES", "QWEN_VL", "check_kind", "is_whole"]

CRITIC = "critic"
QWEN_VL = "Qwen-VL model"
# Patterns of what is asked of the hub: neither code nor pickled weights.
FILES = {
    CRITIC: ("config.json", "tokenizer.json", "README.md", "model*.safetensors"),
    QWEN_VL: BACKBONE_FILES,
}


def check_kind(folder: Path, kind: str, name: str) -> None:
    """Refuse the configuration of another kind of model, and say which mode would take it.

    Raises:
        CheckpointError, BackboneError: it is of neither kind, or of the other one.
    """
    text = (folder / "config.json").read_text(encoding="utf-8", errors="replace")
    is_critic = '"eliq-critic"' in text or '"eliq-ip-iqa"' in text
    if is_critic and kind == QWEN_VL:
        raise CheckpointError(f"mode: {name} is a trained critic: set mode to 'trained'")
    if not is_critic and kind == CRITIC and '"vision_config"' in text:
        raise CheckpointError(f"mode: {name} is a bare model: set mode to 'zero-shot'")
    if kind == CRITIC:
        _config(folder)
    else:
        check_is_qwen_vl(folder)


def is_whole(folder: Path, kind: str) -> bool:
    """Whether every file that loading will ask for is there."""
    if kind == CRITIC:
        try:
            names = ["tokenizer.json", *_config(folder).weight_files]
        except CheckpointError:
            return True  # whole enough to be loaded, and refused with its own message
    else:
        names = ["tokenizer.json", *_shards(folder)]
    return all((folder / name).is_file() for name in names)


def _config(folder: Path) -> Any:
    """The checked configuration of a trained model of either system."""
    if system_of(folder) != "ip-iqa":
        return read_config(folder)
    from ..eliq.ip_iqa.checkpoint import read_stored_config  # brings torch, if nothing else has

    return read_stored_config(folder)


def _shards(folder: Path) -> list[str]:
    try:
        index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
        return sorted(set(index["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError):
        return ["model.safetensors"]
