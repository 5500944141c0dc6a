"""What of a backbone is trained in stage 1, and how: adapters, 4-bit weights, recomputation.

| tuning | trained | frozen weights | 8B at rank 16 / 64 |
|---|---|---|---|
| lora | adapters (float32) on the language layers, and on the vision tower and its mergers where `lora_vision` | as loaded, bfloat16 for a large backbone | 43.7M / 174.6M, with vision 52.5M / 210M |
| qlora | the same | those language layers in 4 bits | the same |
| full | everything, without the vision tower where not `train_vision` | none | 8.8B |
"""  # noqa: E501

from __future__ import annotations

import torch
from torch import nn

from eliq.backbone import Backbone
from eliq.errors import TrainingError

from .adapters import LORA_LANGUAGE, add_lora
from .asking import Asking
from .quantized import quantize_linears
from .stage1_config import Stage1Config

__all__ = ["prepare", "set_checkpointing"]


def prepare(backbone: Backbone, config: Stage1Config) -> Asking:
    """The backbone as stage 1 trains it: adapters or frozen parts, checkpointing, precision.

    Raises:
        TrainingError: a library that the tuning needs is missing, or the weights are of a type in
            which they cannot be trained.
    """
    if config.tuning == "full":
        _tune_in_full(backbone, config)
    else:
        if config.tuning == "qlora":
            bf16 = config.precision == "bf16"
            dtype = torch.bfloat16 if bf16 else torch.float32
            quantize_linears(backbone.model, rf".*{LORA_LANGUAGE}", compute_dtype=dtype)
        add_lora(
            backbone.model,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            dropout=config.lora_dropout,
            vision=config.lora_vision,
            seed=config.seed,
        )
    if config.gradient_checkpointing:
        set_checkpointing(backbone.model, True)
    return Asking(backbone, bf16=config.precision == "bf16")


def set_checkpointing(model: nn.Module, enabled: bool) -> None:
    """Recompute activations in the backward pass, under the name of this transformers version."""
    # From 5.2x the calls have a new name, and the old one warns.
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if enabled:
        # Reentrant checkpointing gives the vision adapters no gradient at all.
        getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{name}_checkpointing_disable")()


def _tune_in_full(backbone: Backbone, config: Stage1Config) -> None:
    if backbone.dtype != torch.float32:
        raise TrainingError(
            f"tuning 'full' needs float32 weights, found {backbone.dtype}, in which small steps "
            "round to nothing: load the backbone in float32 (precision bf16 still computes in "
            "bfloat16), or set tuning to 'lora'"
        )
    backbone.model.requires_grad_(True)
    if not config.train_vision:
        backbone.model.model.visual.requires_grad_(False)
