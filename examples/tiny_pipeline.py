"""A diffusers pipeline for the examples: a tiny random one, or a real one by its id.

The tiny one is a Stable Diffusion of 0.1 M random weights, built in a second without a download.
It paints textures, whatever the prompt: it shows what the examples do, not how well.
"""

import importlib.util
import sys

if importlib.util.find_spec("diffusers") is None:
    sys.exit("this example needs diffusers: pip install 'eliq[diffusers]'")

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

PAD, BEGIN, END = 256, 257, 258


def load_pipeline(model: str | None = None):
    """The pipeline of a hub id or directory, on a GPU where there is one; None = the tiny one."""
    if model is None:
        return tiny_pipeline()
    has_gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if has_gpu else torch.float32
    pipe = DiffusionPipeline.from_pretrained(model, torch_dtype=dtype)
    return pipe.to("cuda" if has_gpu else "cpu")


def tiny_pipeline() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5 in small: 128 x 128 px, 8 times smaller latents, random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        )
        vae = AutoencoderKL(
            block_out_channels=(4, 4, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            norm_num_groups=4,
            layers_per_block=1,
        )
        config = CLIPTextConfig(
            vocab_size=259, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, pad_token_id=PAD, bos_token_id=BEGIN, eos_token_id=END,
        )  # fmt: skip
        text_encoder = CLIPTextModel(config)
        for module in (unet, vae, text_encoder):
            for weight in module.parameters():
                if weight.ndim > 1:  # larger than usual at the start, so that seeds differ visibly
                    torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    pipe = StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=text_encoder.eval(),
        tokenizer=byte_tokenizer(),
        unet=unet.eval(),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte."""
    symbols = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "<pad>", "<begin>", "<end>"]
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<begin> $A <end>", special_tokens=[("<begin>", BEGIN), ("<end>", END)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=77,
        pad_token="<pad>", bos_token="<begin>", eos_token="<end>",
    )  # fmt: skip
