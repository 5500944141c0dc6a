"""Tiny random pipelines of diffusers, built from configs: no download, a fraction of a second each.

    pipe, call_kwargs = TINY_PIPELINES["sdxl"]()
    images = pipe(prompt="a red fox", **call_kwargs, output_type="pt").images

The prompt goes by its name: the first parameter of FLUX.2 is an image. Z-Image writes into a
list of prompts that it is given, so give it one of its own.

Every pipeline reads plain prompts: tokenizers are bytes, text encoders have two layers. Latents are
8 x 8 for an image of 64 x 64 pixels in all of them, 4 x 4 tokens where they are packed.
`call_kwargs` holds what the defaults of the class would make slow (steps, lengths of prompts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tests.tiny_pipeline_parts import (
    SIZE_PX,
    byte_tokenizer,
    causal_text,
    chat_tokenizer,
    clip_text,
    flow_scheduler,
    kl_vae,
    randomised,
    t5_text,
)

NUM_STEPS = 4


def built(pipe: Any, **call_kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """The pipeline, silent, and how to call it."""
    pipe.set_progress_bar_config(disable=True)
    size = {"height": SIZE_PX, "width": SIZE_PX}
    return pipe, {**size, "num_inference_steps": NUM_STEPS, **call_kwargs}


def sd15() -> tuple[Any, dict[str, Any]]:
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=4,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    return built(
        StableDiffusionPipeline(
            vae=kl_vae(4),
            text_encoder=clip_text(),
            tokenizer=byte_tokenizer(),
            unet=randomised(unet, 0),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def sdxl() -> tuple[Any, dict[str, Any]]:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=64, attention_head_dim=(2, 4), use_linear_projection=True,
        transformer_layers_per_block=(1, 2), addition_embed_type="text_time",
        addition_time_embed_dim=8, projection_class_embeddings_input_dim=80,
    )  # fmt: skip
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
        timestep_spacing="leading", steps_offset=1,
    )  # fmt: skip
    return built(
        StableDiffusionXLPipeline(
            vae=kl_vae(4, scaling_factor=0.13025),
            text_encoder=clip_text(),
            text_encoder_2=clip_text(projection=32, seed=4),
            tokenizer=byte_tokenizer(),
            tokenizer_2=byte_tokenizer(),
            unet=randomised(unet, 0),
            scheduler=scheduler,
            add_watermarker=False,
        )
    )


def sd3() -> tuple[Any, dict[str, Any]]:
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=2,
        attention_head_dim=8, num_attention_heads=4, joint_attention_dim=64,
        caption_projection_dim=32, pooled_projection_dim=64, pos_embed_max_size=32,
    )  # fmt: skip
    return built(
        StableDiffusion3Pipeline(
            transformer=randomised(transformer, 0),
            scheduler=flow_scheduler(shift=3.0),
            vae=kl_vae(4, shift_factor=0.0609, scaling_factor=1.5305),
            text_encoder=clip_text(projection=32),
            tokenizer=byte_tokenizer(),
            text_encoder_2=clip_text(projection=32, seed=4),
            tokenizer_2=byte_tokenizer(),
            text_encoder_3=t5_text(hidden=64),
            tokenizer_3=byte_tokenizer(bos=False),
        ),
        max_sequence_length=32,
    )


def flux() -> tuple[Any, dict[str, Any]]:
    from diffusers import FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    return built(
        FluxPipeline(
            scheduler=flow_scheduler(shift=3.0, use_dynamic_shifting=True),
            vae=kl_vae(4, shift_factor=0.1159, scaling_factor=0.3611),
            text_encoder=clip_text(),
            tokenizer=byte_tokenizer(),
            text_encoder_2=t5_text(),
            tokenizer_2=byte_tokenizer(bos=False),
            transformer=randomised(transformer, 0),
        ),
        max_sequence_length=32,
    )


def flux2() -> tuple[Any, dict[str, Any]]:
    from diffusers import AutoencoderKLFlux2, Flux2Pipeline, Flux2Transformer2DModel

    transformer = Flux2Transformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=96, timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        block_out_channels=(4, 4, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4,
        sample_size=SIZE_PX,
    )  # fmt: skip
    vae.bn.running_mean.copy_(torch.linspace(-0.5, 0.5, 16))
    vae.bn.running_var.copy_(torch.linspace(0.5, 2.0, 16))
    return built(
        Flux2Pipeline(
            scheduler=flow_scheduler(shift=3.0, use_dynamic_shifting=True),
            vae=randomised(vae, 3),
            text_encoder=causal_text(num_layers=3),
            tokenizer=chat_tokenizer(),
            transformer=randomised(transformer, 0),
        ),
        max_sequence_length=32,
        text_encoder_out_layers=(1, 2, 3),
    )


def qwen_image() -> tuple[Any, dict[str, Any]]:
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel

    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 2, 2, 2], num_res_blocks=1,
        latents_mean=[-0.5, 0.25, 0.1, 0.0], latents_std=[2.0, 1.5, 1.25, 3.0],
    )  # fmt: skip
    pipe, call_kwargs = built(
        QwenImagePipeline(
            scheduler=flow_scheduler(use_dynamic_shifting=True),
            vae=randomised(vae, 3),
            text_encoder=causal_text(),
            tokenizer=chat_tokenizer(),
            transformer=randomised(transformer, 0),
        ),
        negative_prompt=" ",
        true_cfg_scale=3.0,
        max_sequence_length=32,
    )
    # The template counts tokens of Qwen's own tokenizer.
    pipe.prompt_template_encode, pipe.prompt_template_encode_start_idx = "draw {}", 5
    return pipe, call_kwargs


def z_image() -> tuple[Any, dict[str, Any]]:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    transformer = ZImageTransformer2DModel(
        in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=32, axes_dims=[8, 4, 4], axes_lens=[128, 32, 32],
    )  # fmt: skip
    return built(
        ZImagePipeline(
            scheduler=flow_scheduler(shift=3.0),
            vae=kl_vae(4, shift_factor=0.1159, scaling_factor=0.3611),
            text_encoder=causal_text(),
            tokenizer=chat_tokenizer(),
            transformer=randomised(transformer, 0),
        ),
        max_sequence_length=32,
    )


def sana() -> tuple[Any, dict[str, Any]]:
    from diffusers import (
        AutoencoderDC,
        DPMSolverMultistepScheduler,
        SanaPipeline,
        SanaTransformer2DModel,
    )

    transformer = SanaTransformer2DModel(
        in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16,
        caption_channels=32, sample_size=16,
    )  # fmt: skip
    vae = AutoencoderDC(
        latent_channels=4, attention_head_dim=4, scaling_factor=0.41407,
        encoder_block_types=("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(4, 4, 8, 8), decoder_block_out_channels=(4, 4, 8, 8),
        encoder_layers_per_block=(1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1),
        encoder_qkv_multiscales=((), (), (), (5,)), decoder_qkv_multiscales=((), (), (), (5,)),
    )  # fmt: skip
    scheduler = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return built(
        SanaPipeline(
            tokenizer=byte_tokenizer(),
            text_encoder=causal_text(),
            vae=randomised(vae, 3),
            transformer=randomised(transformer, 0),
            scheduler=scheduler,
        ),
        use_resolution_binning=False,
        complex_human_instruction=None,
        max_sequence_length=32,
    )


def lumina2() -> tuple[Any, dict[str, Any]]:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    transformer = Lumina2Transformer2DModel(
        sample_size=8, in_channels=4, hidden_size=32, num_layers=2, num_refiner_layers=1,
        num_attention_heads=2, num_kv_heads=1, multiple_of=16, axes_dim_rope=(8, 4, 4),
        axes_lens=(128, 32, 32), cap_feat_dim=32,
    )  # fmt: skip
    return built(
        Lumina2Pipeline(
            transformer=randomised(transformer, 0),
            scheduler=flow_scheduler(shift=3.0),
            vae=kl_vae(4, shift_factor=0.1159, scaling_factor=0.3611),
            text_encoder=causal_text(),
            tokenizer=byte_tokenizer(),
        ),
        system_prompt="draw",
        max_sequence_length=48,
    )


def pixart_sigma() -> tuple[Any, dict[str, Any]]:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    transformer = PixArtTransformer2DModel(
        sample_size=32, in_channels=4, out_channels=8, num_layers=2, num_attention_heads=2,
        attention_head_dim=8, cross_attention_dim=16, caption_channels=32,
        use_additional_conditions=False,
    )  # fmt: skip
    return built(
        PixArtSigmaPipeline(
            tokenizer=byte_tokenizer(),
            text_encoder=t5_text(),
            vae=kl_vae(4, scaling_factor=0.13025),
            transformer=randomised(transformer, 0),
            scheduler=DPMSolverMultistepScheduler(beta_schedule="linear"),
        ),
        use_resolution_binning=False,
        clean_caption=False,  # wants Beautiful Soup
        max_sequence_length=32,
    )


def hunyuan_image() -> tuple[Any, dict[str, Any]]:
    from diffusers import (
        AutoencoderKLHunyuanImage,
        HunyuanImagePipeline,
        HunyuanImageTransformer2DModel,
    )
    from diffusers.guiders import AdaptiveProjectedMixGuidance

    transformer = HunyuanImageTransformer2DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, text_embed_dim=32, text_embed_2_dim=32,
        rope_axes_dim=(8, 8),
    )  # fmt: skip
    vae = AutoencoderKLHunyuanImage(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 32, 32, 32),
        layers_per_block=1, spatial_compression_ratio=8, sample_size=SIZE_PX,
        scaling_factor=0.75289,
    )  # fmt: skip
    pipe, call_kwargs = built(
        HunyuanImagePipeline(
            scheduler=flow_scheduler(shift=5.0),
            vae=randomised(vae, 3),
            text_encoder=causal_text(num_layers=3),
            tokenizer=chat_tokenizer(),
            text_encoder_2=t5_text(),
            tokenizer_2=byte_tokenizer(bos=False),
            transformer=randomised(transformer, 0),
            # From step 1 on it keeps a running average, the case that is hard to prune.
            guider=AdaptiveProjectedMixGuidance(
                guidance_scale=3.0,
                adaptive_projected_guidance_scale=5.0,
                adaptive_projected_guidance_start_step=1,
            ),
        )
    )
    pipe.prompt_template_encode, pipe.prompt_template_encode_start_idx = "draw {}", 5
    pipe.tokenizer_max_length, pipe.tokenizer_2_max_length = 32, 16
    return pipe, call_kwargs


def chroma() -> tuple[Any, dict[str, Any]]:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    transformer = ChromaTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, axes_dims_rope=(4, 4, 8),
        approximator_num_channels=8, approximator_hidden_dim=32, approximator_layers=1,
    )  # fmt: skip
    return built(
        ChromaPipeline(
            scheduler=flow_scheduler(),
            vae=kl_vae(4, shift_factor=0.1159, scaling_factor=0.3611),
            text_encoder=t5_text(),
            tokenizer=byte_tokenizer(bos=False),
            transformer=randomised(transformer, 0),
        ),
        max_sequence_length=32,
    )


def aura_flow() -> tuple[Any, dict[str, Any]]:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    transformer = AuraFlowTransformer2DModel(
        sample_size=8, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
        attention_head_dim=8, num_attention_heads=4, joint_attention_dim=32,
        caption_projection_dim=32, out_channels=4, pos_embed_max_size=64,
    )  # fmt: skip
    return built(
        AuraFlowPipeline(
            tokenizer=byte_tokenizer(),
            text_encoder=t5_text(),
            vae=kl_vae(4, scaling_factor=0.13025),
            transformer=randomised(transformer, 0),
            scheduler=flow_scheduler(shift=1.73),
        ),
        max_sequence_length=32,
    )


Builder = Callable[[], tuple[Any, dict[str, Any]]]
TINY_PIPELINES: dict[str, Builder] = {
    "sd15": sd15,
    "sdxl": sdxl,
    "sd3": sd3,
    "flux": flux,
    "flux2": flux2,
    "qwen_image": qwen_image,
    "z_image": z_image,
    "sana": sana,
    "lumina2": lumina2,
    "pixart_sigma": pixart_sigma,
    "hunyuan_image": hunyuan_image,
    "chroma": chroma,
    "aura_flow": aura_flow,
}
