"""Tiny diffusers pipelines with random weights: every script that generates has a `--smoke`.

    pipe = tiny_pipeline("tiny-flux")
    pipe("a red fox", height=64, width=64, num_inference_steps=4)

Built from configs in a second, without a download, the same weights every time. They paint textures
that depend on prompt and seed, whatever the prompt says: no score of theirs means anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn

from eliq.errors import TrainingError

__all__ = ["TINY_PIPELINES", "tiny_pipeline"]

_SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
_PAD, _BOS, _EOS = 256, 257, 258
_VOCABULARY = 256 + len(_SPECIAL)
_SIZE_PX = 96


def tiny_pipeline(name: str) -> Any:
    """The pipeline called "tiny-sd" (Stable Diffusion), "tiny-flux" (FLUX.1) or "tiny-edit"
    (InstructPix2Pix, which takes an image and an instruction), silent.

    Raises:
        TrainingError: another name.
    """
    if name not in TINY_PIPELINES:
        known = ", ".join(TINY_PIPELINES)
        raise TrainingError(f"expected one of the tiny pipelines {known}, found {name!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = TINY_PIPELINES[name]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _tiny_sd() -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(**_stable_diffusion(in_channels=4))


def _tiny_edit() -> Any:
    from diffusers import StableDiffusionInstructPix2PixPipeline

    return StableDiffusionInstructPix2PixPipeline(**_stable_diffusion(in_channels=8))


def _stable_diffusion(*, in_channels: int) -> dict[str, Any]:
    from diffusers import DDIMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(
        in_channels=in_channels, block_out_channels=(8, 16), layers_per_block=1,
        sample_size=_SIZE_PX // 8, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
        attention_head_dim=4,
    )  # fmt: skip
    return {
        "vae": _autoencoder(),
        "text_encoder": _clip(),
        "tokenizer": _bytes(bos=True),
        "unet": _random(unet, 0),
        "scheduler": DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
            clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        ),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }  # fmt: skip


def _tiny_flux() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(shift_factor=0.1159, scaling_factor=0.3611),
        text_encoder=_clip(),
        tokenizer=_bytes(bos=True),
        text_encoder_2=_t5(),
        tokenizer_2=_bytes(bos=False),
        transformer=_random(transformer, 1),
    )


TINY_PIPELINES: dict[str, Callable[[], Any]] = {
    "tiny-sd": _tiny_sd,
    "tiny-flux": _tiny_flux,
    "tiny-edit": _tiny_edit,
}


def _autoencoder(**config: Any) -> nn.Module:
    from diffusers import AutoencoderKL

    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=_SIZE_PX,
        **config,
    )
    return _random(vae, 3)


def _clip() -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=_VOCABULARY, hidden_size=32, intermediate_size=37, num_hidden_layers=2,
        num_attention_heads=4, pad_token_id=_PAD, bos_token_id=_BOS, eos_token_id=_EOS,
    )  # fmt: skip
    return _random(CLIPTextModel(config), 4)


def _t5() -> nn.Module:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=_VOCABULARY, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4,
        pad_token_id=_PAD, eos_token_id=_EOS,
    )  # fmt: skip
    return _random(T5EncoderModel(config), 5)


def _bytes(*, bos: bool, max_length: int = 77) -> Any:
    """A tokenizer whose tokens are bytes."""
    from transformers import PreTrainedTokenizerFast

    symbols = (*sorted(pre_tokenizers.ByteLevel.alphabet()), *_SPECIAL)
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>" if bos else "$A <eos>",
        special_tokens=[("<bos>", _BOS), ("<eos>", _EOS)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_length,
        pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>",
    )  # fmt: skip


def _random(module: nn.Module, seed: int) -> nn.Module:
    """Weights large enough that another seed, prompt or step gives a clearly other image."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, parameter[0].numel() ** -0.5, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.02, generator=generator)
    return module.eval().requires_grad_(False)
