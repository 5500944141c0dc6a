"""The backbone that a run starts from, by what the user names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from eliq.backbone import Backbone
from eliq.checkpoint import load_checkpoint, read_config

from .tiny_backbone import tiny_backbone

__all__ = ["load_backbone", "origin_of"]


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    max_pixels: int | None = None,
) -> Backbone:
    """The backbone called "embedded" (the critic of the package), "tiny" (random, for
    smoke runs), or the one in an eliq checkpoint, or a Qwen-VL as a directory or hub id.

    `max_pixels` bounds the area that the critic sees; it becomes part of the checkpoint.

    Raises:
        CheckpointError, BackboneError: nothing to load under that name.
    """
    if name == "tiny":
        backbone = tiny_backbone().to(device)
    elif name == "embedded" or _is_eliq_checkpoint(Path(name)):
        source = None if name == "embedded" else name
        backbone = load_checkpoint(source, dtype=dtype, device=device).backbone
    else:
        backbone = Backbone.from_pretrained(name, revision=revision, dtype=dtype, device=device)
    if max_pixels is not None:
        backbone.patches = replace(
            backbone.patches,
            max_pixels=max_pixels,
            min_pixels=min(backbone.patches.min_pixels, max_pixels),
        )
    return backbone


def origin_of(name: str, revision: str | None = None) -> dict[str, Any]:
    """Facts for a checkpoint: the pretrained model behind what `load_backbone` loads, which an
    evaluation asks as the baseline; of a critic that is tuned on, the one it was tuned from."""
    if not _is_eliq_checkpoint(Path(name)):
        return {"backbone": name, "revision": revision}
    facts = read_config(Path(name)).training
    return {key: facts.get(key) for key in ("backbone", "revision")} | {"started_from": name}


def _is_eliq_checkpoint(directory: Path) -> bool:
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("format") == "eliq-critic"
