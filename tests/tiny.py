"""A tiny random critic: the whole method at a size that a test can afford (0.1 M parameters)."""

from __future__ import annotations

import torch
from torch import Tensor

from eliq.backbone import Backbone
from eliq.calibration import Calibration
from eliq.checkpoint import Checkpoint
from eliq.head import HeadConfig, ScoringHead
from eliq.instructions import Instructions
from eliq.patches import PatchConfig
from training.tiny_backbone import CONTROL_TOKENS, tiny_config, tiny_tokenizer

__all__ = [
    "CONTROL_TOKENS",
    "INSTRUCTIONS",
    "image",
    "tiny_backbone",
    "tiny_checkpoint",
    "tiny_config",
    "tiny_head",
    "tiny_tokenizer",
]

INSTRUCTIONS = Instructions(
    technical="technical?", aesthetic="aesthetic?", alignment='shows "{prompt}"?'
)


def tiny_backbone(*, seed: int = 0, max_prompt_tokens: int = 64) -> Backbone:
    """Random weights, large enough that different inputs get clearly different answers."""
    tokenizer = tiny_tokenizer()
    backbone = Backbone.from_config(
        tiny_config(tokenizer),
        tokenizer,
        instructions=INSTRUCTIONS,
        patches=PatchConfig(min_pixels=64 * 64, max_pixels=160 * 160),
        max_prompt_tokens=max_prompt_tokens,
        seed=seed,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0, fan_in**-0.5, generator=generator)
    return backbone.eval()


def tiny_head(*, hidden_size: int = 32, seed: int = 0) -> ScoringHead:
    """A random head; the global random state is left as it was."""
    config = HeadConfig(hidden_size, model_dim=16, num_layers=1, num_heads=2, ffn_dim=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ScoringHead(config).eval()


def tiny_checkpoint(*, seed: int = 0) -> Checkpoint:
    """A whole critic with calibrations that are not the identity."""
    return Checkpoint(
        tiny_backbone(seed=seed),
        tiny_head(seed=seed),
        {"visual_quality": Calibration(2.0, 0.25), "alignment": Calibration(0.5, -0.125)},
        training={"data": "none", "steps": 0},
    )


def image(height: int, width: int, *, seed: int = 0) -> Tensor:
    """Noise [3,H,W] in [0,1]."""
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))
