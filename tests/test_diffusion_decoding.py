"""Latents to pixels: equal, to the bit, with what the pipeline itself decodes."""

from __future__ import annotations

import pytest
import torch

from eliq.diffusion.decoding import latents_to_images, unpack_latents
from eliq.errors import DiffusionError
from tests.rounding import IMAGE_ROUNDING
from tests.tiny_pipelines import TINY_PIPELINES

pytest.importorskip("diffusers")

SIZE = {"height": 64, "width": 96}
PACKED = ("flux", "flux2", "qwen_image", "chroma")


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (0, 1)]


def generate(pipe, call_kwargs, output_type):
    prompts = ["a red fox", "two cats in snow"]
    return pipe(
        prompt=prompts, generator=generators(), output_type=output_type, **call_kwargs
    ).images


def tiny_decoder(channels: int = 4) -> torch.nn.Module:
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
        return AutoencoderTiny(latent_channels=channels, **sizes).eval()


def random_latents(pipe, call_kwargs, **size):
    """Two rows in the pipeline's own layout, without a run of its denoiser."""
    del call_kwargs
    shape = (2, 4, size["height"] // 8, size["width"] // 8)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if not any(hasattr(pipe, name) for name in ("_unpack_latents", "_unpack_latents_with_ids")):
        return latents
    tokens = torch.nn.functional.pixel_unshuffle(latents, 2)  # any order of channels will do
    return tokens.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_equal_with_the_pipeline(name):
    pipe, call_kwargs = TINY_PIPELINES[name]()
    call_kwargs |= SIZE
    expected = generate(pipe, call_kwargs, "pt")
    latents = generate(pipe, call_kwargs, "latent")
    before, weights = latents.clone(), pipe.vae.state_dict()
    weights = {key: value.clone() for key, value in weights.items()}
    images = latents_to_images(pipe, latents, **SIZE)
    assert images.dtype == torch.float32 and images.shape == (2, 3, 64, 96)
    assert torch.equal(images, expected)
    assert expected.std() > 0.05, "a test of constant images would show nothing"
    assert torch.equal(latents, before)
    for key, value in pipe.vae.state_dict().items():
        assert torch.equal(value, weights[key])
    if name not in PACKED:  # these say their size themselves
        assert torch.equal(latents_to_images(pipe, latents), expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_equal_in_half_precision(name, dtype):
    """AuraFlow leaves its autoencoder in float32 after a float16 run, hence two builds."""
    pipe, call_kwargs = TINY_PIPELINES[name]()
    expected = generate(pipe.to(dtype=dtype), call_kwargs, "pt").float()
    pipe, call_kwargs = TINY_PIPELINES[name]()
    latents = generate(pipe.to(dtype=dtype), call_kwargs, "latent")
    images = latents_to_images(pipe, latents, height=64, width=64)
    assert images.dtype == torch.float32 and torch.equal(images, expected)
    assert pipe.vae.dtype == dtype


def test_float16_of_sdxl_is_decoded_in_float32_and_put_back(monkeypatch):
    pipe, call_kwargs = TINY_PIPELINES["sdxl"]()
    pipe.to(dtype=torch.float16)
    latents = random_latents(pipe, call_kwargs, **SIZE).half()
    seen, decode = [], pipe.vae.decode

    def watched(grid, **kwargs):
        seen.append((grid.dtype, pipe.vae.dtype))
        if len(seen) == 2:
            raise RuntimeError("the autoencoder failed")
        return decode(grid, **kwargs)

    monkeypatch.setattr(pipe.vae, "decode", watched)
    images = latents_to_images(pipe, latents)
    assert seen == [(torch.float32, torch.float32)]
    assert pipe.vae.dtype == torch.float16 and images.dtype == torch.float32
    with pytest.raises(RuntimeError, match="the autoencoder failed"):
        latents_to_images(pipe, latents)
    assert pipe.vae.dtype == torch.float16


def test_sdxl_with_statistics_of_its_latents():
    """As Playground v2.5 has them."""
    pipe, call_kwargs = TINY_PIPELINES["sdxl"]()
    pipe.vae.register_to_config(latents_mean=[-1.6, 0.2, 0.1, 0.5], latents_std=[8.0, 5.0, 6.0, 4])
    expected = generate(pipe, call_kwargs, "pt")
    latents = generate(pipe, call_kwargs, "latent")
    assert torch.equal(latents_to_images(pipe, latents), expected)


@pytest.mark.parametrize("name", ["flux", "flux2", "chroma", "qwen_image"])
def test_a_size_that_the_pipeline_rounds(name):
    pipe, call_kwargs = TINY_PIPELINES[name]()
    call_kwargs |= {"height": 70, "width": 100}
    expected = generate(pipe, call_kwargs, "pt")
    latents = generate(pipe, call_kwargs, "latent")
    assert torch.equal(latents_to_images(pipe, latents, height=70, width=100), expected)


def test_the_size_that_was_asked_for_is_cut_from_a_binned_one():
    """PixArt and Sana round to a table of sizes and crop the image."""
    pipe, call_kwargs = TINY_PIPELINES["pixart_sigma"]()
    call_kwargs |= {"height": 200, "width": 280, "use_resolution_binning": True}
    expected = generate(pipe, call_kwargs, "pt")
    latents = generate(pipe, call_kwargs, "latent")
    assert expected.shape[-2:] == (200, 280) and latents.shape[-2:] != (25, 35)
    assert torch.equal(latents_to_images(pipe, latents, height=200, width=280), expected)


@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_latents_that_are_not_finite_give_images_that_the_scorer_flags(name, tiny_scorer):
    pipe, call_kwargs = TINY_PIPELINES[name]()
    latents = random_latents(pipe, call_kwargs, height=64, width=64)
    finite = latents_to_images(pipe, latents, height=64, width=64)
    latents[1] = float("nan")
    images = latents_to_images(pipe, latents, height=64, width=64)
    assert images.isfinite().flatten(1).all(1).tolist() == [True, False]
    assert torch.allclose(images[0], finite[0], atol=IMAGE_ROUNDING), "the other row is as it was"
    scores = tiny_scorer.score(images, ["a red fox"] * 2, on_error="flag")
    assert "nonfinite_input" in scores.flags[1] and "nonfinite_input" not in scores.flags[0]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_preview_decoder_hides_nothing(value):
    """An AutoencoderTiny begins with a tanh, to which an infinity is a number like any other."""
    pipe, call_kwargs = TINY_PIPELINES["sd15"]()
    latents = random_latents(pipe, call_kwargs, **SIZE)
    latents[1, 0, 0, 0] = float(value)
    images = latents_to_images(pipe, latents, decoder=tiny_decoder())
    assert images.isfinite().flatten(1).all(1).tolist() == [True, False]


@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_a_preview_decoder_reads_raw_latents(name):
    """FLUX.2's are raw after its batch norm is undone, those of the others as they are."""
    pipe, call_kwargs = TINY_PIPELINES[name]()
    decoder = tiny_decoder()
    latents = random_latents(pipe, call_kwargs, **SIZE)
    images = latents_to_images(pipe, latents, decoder=decoder, **SIZE)
    assert images.shape == (2, 3, 64, 96) and images.dtype == torch.float32
    if name == "flux2":
        return
    raw = unpack_latents(pipe, latents, **SIZE)
    raw = raw[:, :, 0] if raw.ndim == 5 else raw
    with torch.no_grad():
        expected = (decoder.decode(raw).sample / 2 + 0.5).clamp(0, 1)
    assert torch.equal(images, expected)


def test_a_pipeline_whose_own_autoencoder_is_tiny():
    pipe, call_kwargs = TINY_PIPELINES["sd15"]()
    pipe.vae = tiny_decoder()
    expected = generate(pipe, call_kwargs, "pt")
    latents = generate(pipe, call_kwargs, "latent")
    assert torch.equal(latents_to_images(pipe, latents), expected)


def test_a_compiled_or_tiled_autoencoder():
    pipe, call_kwargs = TINY_PIPELINES["sd15"]()
    latents = random_latents(pipe, call_kwargs, **SIZE)
    expected = latents_to_images(pipe, latents)
    pipe.vae.enable_slicing()
    assert torch.allclose(latents_to_images(pipe, latents), expected, atol=IMAGE_ROUNDING)
    pipe.vae = torch.compile(pipe.vae, backend="eager")
    assert torch.allclose(latents_to_images(pipe, latents), expected, atol=IMAGE_ROUNDING)


def test_under_offload():
    pipe, call_kwargs = TINY_PIPELINES["sdxl"]()
    latents = random_latents(pipe, call_kwargs, **SIZE)
    expected = latents_to_images(pipe, latents)
    pipe.enable_model_cpu_offload(device="cpu")  # as far as it goes without an accelerator
    assert torch.equal(latents_to_images(pipe, latents), expected)


def test_no_gradient_is_kept():
    pipe, call_kwargs = TINY_PIPELINES["sd15"]()
    pipe.vae.requires_grad_(True)
    latents = random_latents(pipe, call_kwargs, **SIZE).requires_grad_()
    assert not latents_to_images(pipe, latents).requires_grad


def test_the_batch_does_not_matter():
    pipe, call_kwargs = TINY_PIPELINES["flux"]()
    latents = random_latents(pipe, call_kwargs, **SIZE)
    both = latents_to_images(pipe, latents, **SIZE)
    for row in (0, 1):
        alone = latents_to_images(pipe, latents[row : row + 1], **SIZE)
        assert torch.allclose(alone[0], both[row], atol=IMAGE_ROUNDING)


def test_what_does_not_fit_is_refused():
    flux, call_kwargs = TINY_PIPELINES["flux"]()
    packed = random_latents(flux, call_kwargs, **SIZE)
    with pytest.raises(DiffusionError, match="24 tokens, but 64 x 64 pixels .* are 4 x 4"):
        latents_to_images(flux, packed, height=64, width=64)
    with pytest.raises(DiffusionError, match="24 tokens, but 1024 x 1024"):
        latents_to_images(flux, packed)
    with pytest.raises(DiffusionError, match="decodes latents of 16 channels, found 4"):
        latents_to_images(flux, packed, decoder=tiny_decoder(16), **SIZE)
    sd15, call_kwargs = TINY_PIPELINES["sd15"]()
    with pytest.raises(DiffusionError, match=r"expected \[B,C,h,w\], found \[2, 24, 16\]"):
        latents_to_images(sd15, packed)
    with pytest.raises(DiffusionError, match="expected a tensor of floats, found torch.int64"):
        latents_to_images(sd15, torch.zeros(1, 4, 8, 8, dtype=torch.long))
    with pytest.raises(DiffusionError, match="expected a tensor of floats, found list"):
        latents_to_images(sd15, [1.0])
    with pytest.raises(DiffusionError, match="decodes latents of 4 channels, found 16"):
        latents_to_images(sd15, torch.zeros(1, 16, 8, 8))
    flux2, _ = TINY_PIPELINES["flux2"]()
    with pytest.raises(DiffusionError, match="expected 16 channels, found 4"):
        latents_to_images(flux2, torch.zeros(1, 4, 8, 8))
    sd15.vae = None
    with pytest.raises(DiffusionError, match="no autoencoder `vae`"):
        latents_to_images(sd15, torch.zeros(1, 4, 8, 8))
