"""From a tuned backbone and a trained head to a checkpoint directory that scores.

    freeze_critic(backbone, storage_dtype=torch.bfloat16)    # after stage 1: merge, round
    ... embedding cache, stage 2, calibration ...
    export_critic("runs/critic/critic", backbone, head, calibration, facts)

LoRA is merged, so that scoring needs neither peft nor accelerate. Weights are rounded to their
type on disk before the embeddings are cached: head and calibration then belong to exactly the
backbone that is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from eliq.backbone import Backbone
from eliq.calibration import Calibration
from eliq.checkpoint import Checkpoint, save_checkpoint
from eliq.errors import TrainingError
from eliq.head import ScoringHead

from .adapters import has_lora, merge_lora

__all__ = ["export_critic", "freeze_critic"]


@torch.no_grad()
def freeze_critic(backbone: Backbone, *, storage_dtype: torch.dtype | None = None) -> Backbone:
    """Merges adapters, rounds the weights to `storage_dtype` (their type in memory stays), and
    freezes the backbone, in place."""
    merge_lora(backbone.model)
    if storage_dtype is not None:
        for parameter in backbone.parameters():
            if parameter.is_floating_point():
                parameter.copy_(parameter.to(storage_dtype).to(parameter.dtype))
    return backbone.requires_grad_(False).eval()


def export_critic(
    directory: str | Path,
    backbone: Backbone,
    head: ScoringHead,
    calibration: Mapping[str, Calibration],
    facts: Mapping[str, Any],
    *,
    storage_dtype: torch.dtype | None = None,
    card: str | None = None,
) -> Path:
    """Writes the checkpoint; `facts` (plain JSON) go into its config and card.

    Raises:
        TrainingError: adapters are not merged, or rounding to `storage_dtype` would change a
            weight (call `freeze_critic` before the embeddings are cached).
        CheckpointError: the directory is something else, or cannot be written.
    """
    if has_lora(backbone.model):
        raise TrainingError("the backbone has adapters that are not merged: call freeze_critic")
    if storage_dtype is not None:
        for name, parameter in backbone.named_parameters():
            if not torch.equal(parameter, parameter.to(storage_dtype).to(parameter.dtype)):
                raise TrainingError(
                    f"{name} would change when stored as {storage_dtype}, and the head was trained "
                    "on it as it is: call freeze_critic with that type before caching"
                )
    checkpoint = Checkpoint(backbone, head, dict(calibration), training=dict(facts))
    return save_checkpoint(directory, checkpoint, storage_dtype=storage_dtype, card=card)
