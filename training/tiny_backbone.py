"""A Qwen3-VL of 0.1M random parameters: the whole training at a size that a test can afford.

It learns to tell crude damage from none and nothing else; no score of it means anything.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from eliq.backbone import Backbone
from eliq.instructions import Instructions
from eliq.patches import PatchConfig

__all__ = ["CONTROL_TOKENS", "tiny_backbone", "tiny_config", "tiny_tokenizer"]

CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip


def tiny_backbone(*, seed: int = 0, hidden_size: int = 32) -> Backbone:
    """Random weights, with the second frame of log-gradients that the embedded critic has."""
    tokenizer = tiny_tokenizer()
    backbone = Backbone.from_config(
        tiny_config(tokenizer, hidden_size=hidden_size),
        tokenizer,
        instructions=Instructions("technical?", "aesthetic?", 'shows "{prompt}"?'),
        patches=PatchConfig(min_pixels=64 * 64, max_pixels=128 * 128, second_frame="log_gradient"),
        max_prompt_tokens=64,
        seed=seed,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim > 1:  # the stock 0.02 is too small for a width of 32 to learn from
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
    return backbone


def tiny_tokenizer() -> Tokenizer:
    """Bytes, the words low and high, and Qwen's control tokens as added tokens."""
    words = {symbol: i for i, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("l", "o"), ("lo", "w"), ("h", "i"), ("hi", "g"), ("hig", "h")]
    words |= {left + right: len(words) + i for i, (left, right) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in CONTROL_TOKENS])
    return tokenizer


def tiny_config(tokenizer: Tokenizer | None = None, *, hidden_size: int = 32) -> dict[str, Any]:
    """A transformers config of Qwen3-VL: two layers in each tower."""
    tokenizer = tokenizer or tiny_tokenizer()

    def token(name: str) -> int:
        return tokenizer.token_to_id(f"<|{name}|>")

    return {
        "model_type": "qwen3_vl",
        "text_config": {
            "vocab_size": 288,
            "hidden_size": hidden_size,
            "intermediate_size": 2 * hidden_size,
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
        "image_token_id": token("image_pad"),
        "video_token_id": token("video_pad"),
        "vision_start_token_id": token("vision_start"),
        "vision_end_token_id": token("vision_end"),
        "tie_word_embeddings": True,
    }
