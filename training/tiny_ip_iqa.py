"""An IP-IQA of tiny random towers: the whole model at a size that a test can afford.

Its scores mean nothing. The tokenizer knows bytes only, in CLIP's layout: the control tokens are
the last two ids.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from eliq.ip_iqa import IPIQAConfig, IPIQAModel, ResNetConfig, TextConfig, ViTConfig

__all__ = ["tiny_config", "tiny_model", "tiny_tokenizer", "tiny_vit"]

_SOT, _EOT = "<|startoftext|>", "<|endoftext|>"


def tiny_tokenizer() -> Tokenizer:
    """Bytes in lower case and CLIP's two control tokens: 258 ids."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in (_SOT, _EOT)])
    return tokenizer


def tiny_config(**changes: Any) -> IPIQAConfig:
    """A config of 0.1 M parameters at 64 px: a map of 2 x 2 cells."""
    settings = {
        "visual": ResNetConfig(layers=(1, 1, 1, 1), width=4, num_heads=4),
        "text": TextConfig(
            vocab_size=258, width=32, num_layers=2, num_heads=4, mlp_dim=64, sot_id=256, eot_id=257
        ),
        "embed_dim": 24,
        "image_size_px": 64,
        "cross_heads": 4,
        "pooling_start": "random",  # random towers have nothing to start from
        "head_dim": 32,
    }
    return IPIQAConfig(**{**settings, **changes})


def tiny_vit(**changes: Any) -> ViTConfig:
    """A vision transformer for :func:`tiny_config`: a map of 4 x 4 cells at 64 px."""
    settings = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "mlp_dim": 64}
    return ViTConfig(**{**settings, **changes})


def tiny_model(config: IPIQAConfig | None = None, *, seed: int = 0) -> IPIQAModel:
    """A model in eval mode; weights depend on the seed alone, and different inputs differ."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = IPIQAModel(config or tiny_config())
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:  # the stock 0.02 says too little at a width of 32
                    gain = 4.0 if parameter.ndim == 4 else 1.0  # for the ReLU behind a convolution
                    parameter.normal_(0, (gain / parameter[0].numel()) ** 0.5)
    return model.eval()
