"""LoRA on a backbone by peft, and its merge back into plain weights.

The adapters are injected in place, without peft's wrapper model, so that the backbone's own
packed forward runs unchanged.
"""

from __future__ import annotations

import torch
from torch import nn

from eliq.errors import TrainingError

from .quantized import is_quantized, unquantized

__all__ = ["LORA_LANGUAGE", "LORA_VISION", "add_lora", "has_lora", "merge_lora"]

# Written out: a plain "proj" would also match the Conv3d of patch_embed.
LORA_LANGUAGE = r"language_model\.layers\.\d+\.(self_attn\.(q|k|v|o)_proj|mlp\.(gate|up|down)_proj)"
LORA_VISION = (
    r"visual\.(blocks\.\d+\.(attn\.(qkv|proj)|mlp\.linear_fc[12])"
    r"|(merger|deepstack_merger_list\.\d+)\.linear_fc[12])"
)


def add_lora(
    model: nn.Module,
    *,
    rank: int,
    alpha: float | None = None,
    dropout: float = 0.05,
    vision: bool = True,
    seed: int = 0,
) -> int:
    """Freezes `model`, adds LoRA to its linear layers and returns the number of trained values.

    `alpha` None is 2 x rank. `vision` adapts the vision tower and its mergers too, which is what
    teaches a model to see distortions (facts from Q-Align and LMM4LMM). Adapters of a
    half-precision model are float32.

    Raises:
        TrainingError: peft is not installed, or no layer matches.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise TrainingError(
            "tuning 'lora' needs peft, which is not installed: pip install 'eliq[train]', "
            "or set tuning to 'full'"
        ) from error
    targets = LORA_LANGUAGE + (f"|.*{LORA_VISION}" if vision else "")
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=rf".*{targets}",
        bias="none",
    )
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            inject_adapter_in_model(config, model)
        except ValueError as error:
            raise TrainingError(
                "LoRA found no layer of a Qwen3-VL in this backbone: set tuning to 'full'"
            ) from error
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def has_lora(model: nn.Module) -> bool:
    """Whether `model` carries adapters that are not merged."""
    return any(".lora_A." in name for name, _ in model.named_parameters())


@torch.no_grad()
def merge_lora(model: nn.Module) -> int:
    """Folds every adapter into its layer (W + B A alpha / r), in place, and freezes the model.

    A 4-bit layer becomes a plain one first, since its 4 bits could not hold the sum. Returns how
    many adapters there were.
    """
    if not has_lora(model):
        return 0
    from peft.tuners.lora import LoraLayer

    layers = [
        (name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)
    ]
    for name, layer in layers:
        base = layer.get_base_layer()
        if is_quantized(base):
            base = unquantized(base)
            delta = sum(layer.get_delta_weight(adapter) for adapter in layer.active_adapters)
            base.weight.copy_(base.weight.float() + delta.float())
        else:
            layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, base)
    if hasattr(model, "peft_config"):
        del model.peft_config
    model.requires_grad_(False)
    return len(layers)
