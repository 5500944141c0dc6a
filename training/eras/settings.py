"""What a refresh takes over from the old critic: the shape of its head, the settings of its stages.

A critic that was made small on purpose stays small: without this its successor would get the
defaults, a head of 2 layers of 512 where the old one had 1 of 64, and learn its few rows by heart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from eliq.checkpoint import read_config

from ..stage1_config import Stage1Config
from ..stage2_config import Stage2Config

__all__ = ["old_settings", "settings_in_words"]

_HEAD = ("model_dim", "num_layers", "num_heads", "ffn_dim", "mask_visual_query")
_OF_THE_RUN = ("seed", "num_workers")  # of this run, whatever the old one's were


def old_settings(
    critic: str | Path, *, same_backbone: bool = True
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of stage 1 and of stage 2 as the old critic's checkpoint has them.

    The head's shape is always known; the rest is what its training recorded, of which keys that
    this version does not know are left out. With another backbone (`same_backbone` False) stage 1
    takes nothing: how it is tuned depends on its size.

    Raises:
        CheckpointError: no checkpoint.
    """
    config = read_config(critic)
    stage1 = _known(config.training.get("stage1_config"), Stage1Config) if same_backbone else {}
    stage2 = _known(config.training.get("stage2_config"), Stage2Config)
    return stage1, stage2 | {key: config.head[key] for key in _HEAD if key in config.head}


def settings_in_words(
    critic: str | Path,
    old: tuple[Mapping[str, Any], Mapping[str, Any]],
    given: tuple[Mapping[str, Any], Mapping[str, Any]],
    used: tuple[Stage1Config, Stage2Config],
) -> list[str]:
    """Lines that say which settings come from the old critic, and which were given."""
    head = used[1]
    layers = "1 layer" if head.num_layers == 1 else f"{head.num_layers} layers"
    lines = [
        f"head: {head.model_dim} wide, {layers}, {head.num_heads} heads, {head.ffn_dim} inside"
    ]
    lines[0] += " (given)" if set(_HEAD) & set(given[1]) else " (that of the old critic)"
    for number in (0, 1):
        name, kind = f"stage {number + 1}", (Stage1Config, Stage2Config)[number]
        shown = {k: v for k, v in old[number].items() if k not in given[number] and k not in _HEAD}
        default = kind().to_json()
        special = [f"{k}={v}" for k, v in shown.items() if v != default.get(k)]
        if shown:
            what = ", ".join(special) if special else "the defaults"
            lines.append(f"{name}: settings that {critic} was trained with: {what}")
        else:
            lines.append(f"{name}: no settings taken from {critic}, so the defaults")
        if given[number]:
            said = ", ".join(f"{k}={v}" for k, v in given[number].items())
            lines.append(f"{name}: given for this refresh: {said}")
    return lines


def _known(data: Any, kind: type) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        return {}
    names = {field.name for field in fields(kind)} - set(_OF_THE_RUN)
    return {key: value for key, value in data.items() if key in names}
