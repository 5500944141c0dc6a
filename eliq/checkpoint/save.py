"""Save a critic."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from .config import CARD_NAME, FORMAT, TOKENIZER_NAME, CheckpointConfig
from .critic import Checkpoint
from .place import CheckpointPlace, write_config
from .tensors import collect, write_shards

__all__ = ["save_checkpoint"]

_MAX_SHARD_BYTES = 4 << 30
_DROPPED_KEYS = ("auto_map", "_name_or_path", "num_labels", "id2label", "label2id",
                 "quantization_config")  # fmt: skip


def save_checkpoint(
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    storage_dtype: torch.dtype | None = None,
    card: str | None = None,
    max_shard_bytes: int = _MAX_SHARD_BYTES,
) -> Path:
    """Write a critic; `load_checkpoint` gives it back bit for bit.

    Everything is written and synced beside ``directory`` first, then renamed into place: there is
    never a mixture of two checkpoints. A kill between the two renames of a replacement leaves the
    old one whole, as ``.<name>.<random>.old`` beside. Files of an old checkpoint that are not ours
    (a licence, a figure) are kept.

    Args:
        storage_dtype: the backbone's type on disk; None = as in memory (bit-exact).
        card: text of README.md; None = a short one from ``checkpoint.training``.

    Raises:
        CheckpointError: ``directory`` exists and is no checkpoint, or the weights are not finite.
    """
    place = CheckpointPlace.at(directory, format=FORMAT)
    hub = checkpoint.hub
    tensors = collect(
        None if hub else checkpoint.backbone,
        checkpoint.head,
        hub.adapter if hub else None,
        storage_dtype=storage_dtype,
    )

    def write(partial: Path) -> None:
        names = write_shards(partial, tensors, max_bytes=max_shard_bytes)
        config = _config_of(checkpoint, names)
        write_config(partial, config.to_json(), weight_files=names)
        checkpoint.backbone.tokenizer.save(str(partial / TOKENIZER_NAME))
        (partial / CARD_NAME).write_text(card or _short_card(config), encoding="utf-8")

    place.fill(write)
    return place.target


def _config_of(checkpoint: Checkpoint, weight_files: tuple[str, ...]) -> CheckpointConfig:
    backbone, hub = checkpoint.backbone, checkpoint.hub
    entry: dict[str, Any] = {
        "weights": "hub" if hub else "inside",
        "config": _plain_config(backbone.model.config.to_dict()),
    }
    if hub:
        entry |= {"id": hub.id, "revision": hub.revision}
        if hub.adapter:
            entry["adapter"] = {
                "rank": hub.adapter.rank,
                "scaling": hub.adapter.scaling,
                "targets": list(hub.adapter.tensors),
            }
    return CheckpointConfig(
        library_version=__version__,
        backbone=entry,
        head=checkpoint.head.config.to_json(),
        instructions=backbone.instructions.to_json(),
        patches=backbone.patches.to_json(),
        max_prompt_tokens=backbone.max_prompt_tokens,
        calibration={name: c.to_json() for name, c in checkpoint.calibration.items()},
        mos_calibration={name: c.to_json() for name, c in checkpoint.mos_calibration.items()},
        weight_files=weight_files,
        training=checkpoint.training,
    )


def _plain_config(config: dict[str, Any]) -> dict[str, Any]:
    """A transformers config without what is refused on loading, readable by 4.57 and by 5.x."""
    plain: dict[str, Any] = {}
    for key, value in config.items():
        if key in _DROPPED_KEYS or key.endswith(("_implementation", "_implementation_internal")):
            continue
        plain[key] = _plain_config(value) if isinstance(value, dict) else value
    text = plain.get("text_config", {})
    if "rope_parameters" in text:  # the name from 5.0; 4.57 reads the two older ones
        scaling = {k: v for k, v in text["rope_parameters"].items() if k != "rope_theta"}
        text["rope_scaling"] = scaling
        text["rope_theta"] = text["rope_parameters"].get("rope_theta")
    plain.get("vision_config", {}).pop("rope_parameters", None)  # fixed, and no key before 5.2x
    return plain


def _short_card(config: CheckpointConfig) -> str:
    facts = json.dumps(config.training, indent=2, ensure_ascii=False)
    return (
        "# A critic for eliq\n\nScores images for visual quality and for alignment with a prompt. "
        "Load it with `eliq.Scorer.from_pretrained`.\n\n"
        f"Written by eliq {config.library_version}. What is known of its training:\n\n"
        f"```json\n{facts}\n```\n"
    )
