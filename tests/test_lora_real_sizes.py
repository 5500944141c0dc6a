"""The adapters of a real Qwen3-VL-8B, counted on the meta device: no weight is ever made."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.adapters import add_lora


@pytest.fixture
def qwen3_vl_8b():
    """The architecture of Qwen/Qwen3-VL-8B-Instruct (sizes of its published config)."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = Qwen3VLConfig(
        text_config={
            "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288,
            "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
            "head_dim": 128,
        },
        vision_config={
            "depth": 27, "hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16,
            "out_hidden_size": 4096, "deepstack_visual_indexes": [8, 16, 24],
        },
        tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        return Qwen3VLForConditionalGeneration(config)


def adapted(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


# Layer by layer at rank r: r x (inputs + outputs). Language, a layer: q and o 8192, k and v 5120,
# gate and up and down 16384 each = 75,776; times 36 x 16 = 43,646,976. A vision block: qkv
# 1152+3456, proj 2304, fc1 and fc2 1152+4304 each = 17,824; 27 of them. A merger: 4608+4608 and
# 4608+4096 = 17,920; 4 of them.
@pytest.mark.parametrize(
    ("rank", "vision", "trained"),
    [
        (16, False, 16 * 36 * 75_776),
        (64, False, 64 * 36 * 75_776),
        (16, True, 16 * (36 * 75_776 + 27 * 17_824 + 4 * 17_920)),
    ],
)
def test_the_trained_values_of_the_8b(qwen3_vl_8b, rank, vision, trained):
    assert sum(p.numel() for p in qwen3_vl_8b.parameters()) == pytest.approx(8.767e9, rel=1e-3)
    assert add_lora(qwen3_vl_8b, rank=rank, vision=vision) == trained
    found = adapted(qwen3_vl_8b)
    assert all(p.dtype == torch.float32 and ".lora_" in name for name, p in found.items())
    for frozen in ("lm_head", "embed_tokens", "patch_embed", "pos_embed", "norm"):
        assert not any(frozen in name for name in found), frozen
    assert any("visual" in name for name in found) == vision
