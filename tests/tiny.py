"""A tiny random critic: the whole method at a size that a test can afford (0.1 M parameters)."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from eliq.backbone import Backbone
from eliq.calibration import Calibration
from eliq.checkpoint import Checkpoint
from eliq.head import HeadConfig, ScoringHead
from eliq.instructions import Instructions
from eliq.patches import PatchConfig

CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
INSTRUCTIONS = Instructions(
    technical="technical?", aesthetic="aesthetic?", alignment='shows "{prompt}"?'
)


def tiny_tokenizer() -> Tokenizer:
    """Bytes, the words low and high, and Qwen's control tokens as added tokens."""
    vocabulary = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("l", "o"), ("lo", "w"), ("h", "i"), ("hi", "g"), ("hig", "h")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in CONTROL_TOKENS])
    return tokenizer


def tiny_config(tokenizer: Tokenizer | None = None, *, hidden_size: int = 32) -> dict[str, Any]:
    """A transformers config of Qwen3-VL: two layers in each tower."""
    tokenizer = tokenizer or tiny_tokenizer()
    return {
        "model_type": "qwen3_vl",
        "text_config": {
            "vocab_size": 288,
            "hidden_size": hidden_size,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": True,  # transformers 4.57 asks the text config
            "rope_theta": 10000.0,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_section": [4, 2, 2],
                "mrope_interleaved": True,
            },
        },
        "vision_config": {
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": hidden_size,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 64,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "video_token_id": tokenizer.token_to_id("<|video_pad|>"),
        "vision_start_token_id": tokenizer.token_to_id("<|vision_start|>"),
        "vision_end_token_id": tokenizer.token_to_id("<|vision_end|>"),
        "tie_word_embeddings": True,
    }


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
