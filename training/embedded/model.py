"""The small backbone of the embedded critic: its tokenizer, sizes and questions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from eliq.backbone import Backbone
from eliq.instructions import Instructions
from eliq.patches import PatchConfig

__all__ = [
    "EMBEDDED_INSTRUCTIONS",
    "EMBEDDED_PATCHES",
    "embedded_config",
    "make_backbone",
    "make_tokenizer",
    "train_tokenizer",
]

# Short questions: a backbone trained from scratch gains nothing from long ones, and a suffix token
# costs as much as an image token.
EMBEDDED_INSTRUCTIONS = Instructions(
    technical="technical quality?",
    aesthetic="aesthetic quality?",
    alignment="does it show: {prompt}?",
)
EMBEDDED_PATCHES = PatchConfig(
    min_pixels=96 * 96,
    max_pixels=448 * 448,  # docs/decisions/0013
    second_frame="log_gradient",
)
MAX_PROMPT_TOKENS = 96

_CONTROL = (
    "endoftext",
    "im_start",
    "im_end",
    "vision_start",
    "vision_end",
    "image_pad",
    "video_pad",
)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = 1536) -> Tokenizer:
    """A byte-level BPE tokenizer with Qwen's control tokens behind its vocabulary.

    Every byte is in the alphabet, so any prompt in any script can be encoded.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}|\s+| ?[^\s\p{L}\p{N}]+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    questions = EMBEDDED_INSTRUCTIONS
    fixed = [
        questions.low,
        questions.high,
        "user",
        "assistant",
        questions.technical,
        questions.aesthetic,
        questions.alignment,
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(_CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[],
        show_progress=False,
    )
    tokenizer.train_from_iterator([*fixed * 1000, *texts], trainer)
    tokenizer.add_special_tokens(
        [AddedToken(f"<|{name}|>", special=True, normalized=False) for name in _CONTROL]
    )
    return tokenizer


def make_tokenizer(num_prompts: int = 20_000) -> Tokenizer:
    """The tokenizer, trained on prompts of the renderer; the same one every time."""
    from .facts import Vocabulary, describe, sample_facts
    from .scenes import FULL_DIFFICULTY

    full = FULL_DIFFICULTY
    vocabulary = Vocabulary(full.num_objects, full.num_backgrounds, full.num_colours)
    rng = np.random.default_rng(6_999_999)
    prompts = [
        describe(sample_facts(vocabulary, rng, max_count=4, max_groups=2, relations=True))
        for _ in range(num_prompts)
    ]
    return train_tokenizer([*prompts, "what does it show?"])


def embedded_config(tokenizer: Tokenizer) -> dict:
    """Config S of the Qwen3-VL class, in the layout of the hub's config.json."""
    return {
        "model_type": "qwen3_vl",
        "image_token_id": tokenizer.token_to_id("<|image_pad|>"),
        "video_token_id": tokenizer.token_to_id("<|video_pad|>"),
        "vision_start_token_id": tokenizer.token_to_id("<|vision_start|>"),
        "vision_end_token_id": tokenizer.token_to_id("<|vision_end|>"),
        "tie_word_embeddings": True,
        "vision_config": {
            "depth": 5,
            "hidden_size": 160,
            "intermediate_size": 480,
            "num_heads": 5,
            "in_channels": 3,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 192,
            "num_position_embeddings": 576,
            "deepstack_visual_indexes": [1, 3],
            "initializer_range": 0.02,
        },
        "text_config": {
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 5,
            "num_attention_heads": 6,
            "num_key_value_heads": 3,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_interleaved": True,
                "mrope_section": [6, 5, 5],
            },
            "tie_word_embeddings": True,
            "initializer_range": 0.02,
        },
    }


def make_backbone(
    tokenizer: Tokenizer, *, seed: int = 0, patches: PatchConfig = EMBEDDED_PATCHES
) -> Backbone:
    """The untrained backbone of the embedded critic, float32."""
    return Backbone.from_config(
        embedded_config(tokenizer),
        tokenizer,
        instructions=EMBEDDED_INSTRUCTIONS,
        patches=patches,
        max_prompt_tokens=MAX_PROMPT_TOKENS,
        seed=seed,
    )
