"""A latent diffusion model of random weights, 0.2 M parameters, made from ComfyUI's own classes.

It draws nothing one could name, but it samples by the same code as a large one: noise, steps,
guidance, conditioning, latents of 4 channels at an eighth of the pixels.
"""

from __future__ import annotations

import hashlib
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import torch

__all__ = ["CONTEXT_DIM", "encode_text", "make_model", "make_vae"]

CONTEXT_DIM = 16
NUM_TOKENS = 7

_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "context_dim": CONTEXT_DIM,
    "num_heads": 2,
    "num_head_channels": -1,
    "adm_in_channels": None,
    "legacy": False,
}
_VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 64,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 32,
    "ch_mult": [1, 1, 1, 1],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def make_model(weights_seed: int) -> Any:
    """A MODEL: noise-predicting, of the family of SD 1.5."""
    dtype = torch.float32
    config = comfy.supported_models.SD15({**_UNET, "dtype": dtype})
    config.set_inference_dtype(dtype, None)
    model = comfy.model_base.BaseModel(config, comfy.model_base.ModelType.EPS)
    _fill(model.diffusion_model, weights_seed, gain=1.0)
    return comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def make_vae(weights_seed: int) -> Any:
    """A VAE of the shapes of SD 1.5's: latents [B,4,H/8,W/8], pixels in 0..1."""
    config = {"params": {"ddconfig": _VAE, "embed_dim": 4}}
    vae = comfy.sd.VAE(sd={}, config=config, dtype=torch.float32)
    _fill(vae.first_stage_model, weights_seed, gain=1.0)
    return vae


def encode_text(text: str) -> list[Any]:
    """CONDITIONING of a text: numbers that its hash decides."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(1, NUM_TOKENS, CONTEXT_DIM, generator=generator)
    return [[tokens, {"pooled_output": tokens.mean(1)}]]


def _fill(module: torch.nn.Module, seed: int, *, gain: float) -> None:
    """Weights of the size that keeps activations near 1; the global random state is untouched."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
                parameter.mul_(gain * fan_in**-0.5)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
