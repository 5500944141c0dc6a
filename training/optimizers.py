"""Optimizers and the learning-rate schedule of a run."""

from __future__ import annotations

import math

import torch
from torch import nn

from eliq.errors import ConfigError

from .muon import Muon

__all__ = ["build_optimizers", "cosine_factor", "set_learning_rate"]

_HIDDEN = (".layers.", ".blocks.", "merger")


def build_optimizers(
    module: nn.Module,
    *,
    kind: str,
    learning_rate: float,
    weight_decay: float,
    adamw_learning_rate: float | None = None,
) -> dict[str, torch.optim.Optimizer]:
    """The optimizers of a module's trainable parameters, by name.

    kind "adamw": one AdamW, decay on matrices only. kind "muon": Muon (`match_rms_adamw`) for the
    matrices of the transformer layers, AdamW (at `adamw_learning_rate`, by default the same) for
    embeddings, norms, biases and adapters; at equal time far ahead for a small backbone that is
    trained in full.

    Raises:
        ConfigError: another kind, nothing to train, or Muon with a torch before 2.9.
    """
    if kind not in ("adamw", "muon"):
        raise ConfigError(f"optimizer: expected adamw or muon, found {kind!r}")
    hidden, matrices, others = [], [], []
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = any(part in name for part in _HIDDEN) and ".lora_" not in name
        if kind == "muon" and parameter.ndim == 2 and inside:
            hidden.append(parameter)
        elif parameter.ndim >= 2:
            matrices.append(parameter)
        else:
            others.append(parameter)
    if not hidden + matrices + others:
        raise ConfigError("nothing to train: every parameter is frozen")
    optimizers: dict[str, torch.optim.Optimizer] = {}
    if hidden:
        try:
            muon = Muon(hidden, learning_rate=learning_rate, weight_decay=weight_decay)
        except ConfigError as error:
            raise ConfigError(f"{error}, or take optimizer=adamw") from error
        optimizers["muon"] = muon
    if matrices + others:
        groups = [
            {"params": matrices, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        rate = learning_rate if adamw_learning_rate is None else adamw_learning_rate
        optimizers["adamw"] = torch.optim.AdamW([g for g in groups if g["params"]], lr=rate)
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["base_lr"] = group["lr"]
    return optimizers


def cosine_factor(step: int, num_steps: int, warmup_share: float, floor: float = 0.0) -> float:
    """Factor on the learning rate at `step`: linear warm-up, then a cosine down to `floor`.

    A function of the step alone, so a resumed run needs no scheduler state.
    """
    warmup = max(1, round(warmup_share * num_steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, num_steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimizers: dict[str, torch.optim.Optimizer], factor: float) -> None:
    """Sets every group to its base rate times `factor`."""
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
