"""Parts of the tiny pipelines: byte tokenizers, text encoders, an autoencoder, random weights."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn

SIZE_PX = 64
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
VOCAB_SIZE = 256 + len(SPECIAL)
PAD, BOS, EOS = 256, 257, 258


def byte_tokenizer(max_length: int = 77, *, bos: bool = True) -> Any:
    """A fast tokenizer whose tokens are bytes, ending in <eos>, padded with <pad>."""
    from transformers import PreTrainedTokenizerFast

    symbols = (*sorted(pre_tokenizers.ByteLevel.alphabet()), *SPECIAL)
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>" if bos else "$A <eos>",
        special_tokens=[("<bos>", BOS), ("<eos>", EOS)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Weights large enough that another seed, prompt or step gives a clearly other image."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0, fan_in**-0.5, generator=generator)
            elif name.endswith("bias"):  # drawn from the global generator, else
                parameter.normal_(0, 0.02, generator=generator)
    return module.eval().requires_grad_(False)


def clip_text(*, projection: int | None = None, seed: int = 1) -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=VOCAB_SIZE, hidden_size=32, intermediate_size=37, num_hidden_layers=3,
        num_attention_heads=4, projection_dim=projection or 32,
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS,
    )  # fmt: skip
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return randomised(kind(config), seed)


def t5_text(*, hidden: int = 32, seed: int = 2) -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=VOCAB_SIZE, d_model=hidden, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
        pad_token_id=PAD, eos_token_id=EOS,
    )  # fmt: skip
    return randomised(T5EncoderModel(config), seed)


def kl_vae(channels: int, *, seed: int = 3, **config: Any) -> nn.Module:
    """An AutoencoderKL that shrinks by 8, as the real ones do."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=SIZE_PX,
        **config,
    )
    return randomised(vae, seed)


def flow_scheduler(**config: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**config)


def causal_text(*, hidden: int = 32, num_layers: int = 2, seed: int = 2) -> nn.Module:
    """Stands in for Qwen, Gemma and Mistral: only their hidden states are read."""
    from transformers import Qwen2Config, Qwen2Model

    config = Qwen2Config(
        vocab_size=VOCAB_SIZE, hidden_size=hidden, intermediate_size=37,
        max_position_embeddings=512, num_hidden_layers=num_layers,
        num_attention_heads=4, num_key_value_heads=2,
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS,
    )  # fmt: skip
    return randomised(Qwen2Model(config), seed)


def chat_tokenizer(max_length: int = 64) -> Any:
    """A byte tokenizer whose chat template is the user's text alone."""
    tokenizer = byte_tokenizer(max_length, bos=False)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}"
        "{% if m.content is string %}{{ m.content }}{% else %}{{ m.content[0].text }}{% endif %}"
        "{% endif %}{% endfor %}"
    )
    return tokenizer
