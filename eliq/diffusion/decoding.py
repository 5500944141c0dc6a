"""Latents to pixels where the latents lie, for every family of pipelines.

Shapes: B images, C channels, L tokens, h x w latents, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DiffusionError
from .pipelines import describe_pipeline, image_size, module_device

__all__ = ["is_upcast", "latents_to_images", "unpack_latents"]

# Their autoencoder overflows in float16 and is decoded in float32. Others ignore `force_upcast`,
# though it is true in most configs, and so must we to get the pixels that they get.
UPCAST_FAMILIES = ("sdxl", "aura_flow")


@torch.no_grad()
def latents_to_images(
    pipe: Any,
    latents: Tensor,
    *,
    height: int | None = None,
    width: int | None = None,
    decoder: nn.Module | None = None,
) -> Tensor:
    """Images [B,3,H,W] float32 in [0,1], on the latents' device, of latents in the pipeline's own
    layout: the ones that `output_type="latent"` returns, or a step's estimate of them.

    Bit-equal with the images of `output_type="pt"` on the 13 families of docs/diffusers.md, except
    for what a pipeline does to a finished image: safety checker, watermark.

    height, width: of the call, in pixels; None is what the latents say, or, where packed latents
    do not say it, the pipeline's default. decoder: another autoencoder with `.decode` and
    `.config`, such as an AutoencoderTiny, 20 times cheaper, for previews. It reads the raw latents
    (its own scaling is 1). Latents that are not finite give images that are not finite, which the
    scorer flags. The pipeline, its autoencoder and `latents` are left as they were.

    Under `enable_model_cpu_offload` a decode with the pipeline's own autoencoder sends the denoiser
    to the CPU: inside the loop use a decoder.

    Raises `DiffusionError`: no autoencoder, a shape that does not fit the pipeline or the size.
    """
    facts = describe_pipeline(pipe)
    own = getattr(pipe, "vae", None)
    vae = decoder if decoder is not None else own
    if vae is None:
        raise DiffusionError(f"{facts.class_name} has no autoencoder `vae`: pass a decoder")
    device = latents.device if isinstance(latents, Tensor) else None
    grid = unpack_latents(pipe, latents, height=height, width=width)
    with _decoding_dtype(vae, upcast=vae is own and is_upcast(pipe, own)) as dtype:
        grid = grid.to(device=module_device(vae), dtype=dtype)
        grid = _undo_batch_norm(pipe, own, grid)
        if decoder is not None and grid.ndim == 5:
            grid = grid[:, :, 0]  # a preview decoder knows no frames
        _check_channels(vae, grid)
        images = vae.decode(_denormalise(vae, grid), return_dict=False)[0]
    if images.ndim == 5:
        images = images[:, :, 0]
    images = _undo_binning(pipe, images, height, width)
    images = (images / 2 + 0.5).clamp(0, 1).to(device=device, dtype=torch.float32)
    # A tiny decoder begins with a tanh, which makes an infinity look like any other number.
    is_finite = latents.isfinite().flatten(1).all(dim=1).view(-1, 1, 1, 1)
    return torch.where(is_finite, images, torch.nan)


def unpack_latents(
    pipe: Any, latents: Tensor, *, height: int | None = None, width: int | None = None
) -> Tensor:
    """Packed latents [B,L,C] as the grid [B,C,h,w], or [B,C,1,h,w] (Qwen-Image); a grid as it is.

    FLUX.2 keeps its 2 x 2 patches as channels: they are undone after its batch norm. height,
    width: of the call, in pixels, as `latents_to_images` takes them.
    """
    facts = describe_pipeline(pipe)
    if not isinstance(latents, Tensor) or not latents.is_floating_point():
        found = str(latents.dtype) if isinstance(latents, Tensor) else type(latents).__name__
        raise DiffusionError(f"latents: expected a tensor of floats, found {found}")
    if latents.ndim in (4, 5):
        return latents
    is_packed = facts.packed_latents or (facts.modular and _holds_patches(pipe, latents))
    if latents.ndim != 3 or not is_packed:
        expected = "[B,L,C] or [B,C,h,w]" if is_packed else "[B,C,h,w]"
        raise DiffusionError(
            f"latents of {facts.class_name}: expected {expected}, found {list(latents.shape)}"
        )
    height, width = image_size(pipe, height, width)
    rows, columns = (side // (2 * facts.vae_scale_factor) for side in (height, width))
    batch, tokens, channels = latents.shape
    if tokens != rows * columns:
        raise DiffusionError(
            f"latents hold {tokens} tokens, but {height} x {width} pixels (height x width) are "
            f"{rows} x {columns}: pass the height and width of the call"
        )
    if hasattr(pipe, "_unpack_latents"):
        return pipe._unpack_latents(latents, height, width, facts.vae_scale_factor)
    grid = latents.transpose(1, 2).reshape(batch, channels, rows, columns)
    vae = getattr(pipe, "vae", None)
    if hasattr(pipe, "_unpack_latents_with_ids") or hasattr(vae, "bn"):
        return grid
    grid = _joined_patches(grid)
    has_frames = any(isinstance(module, nn.Conv3d) for module in vae.modules())  # Qwen-Image
    return grid[:, :, None] if has_frames else grid


def _holds_patches(pipe: Any, latents: Tensor) -> bool:
    """Whether each token is a 2 x 2 patch of what the autoencoder reads.

    Modular pipelines (FLUX, FLUX.2, Qwen-Image) pack latents in blocks, not in methods of theirs.
    """
    vae = getattr(pipe, "vae", None)
    norm = getattr(vae, "bn", None)
    expected = norm.running_mean.numel() if norm is not None else 4 * (_num_channels(vae) or 0)
    return latents.ndim == 3 and expected > 0 and latents.shape[2] == expected


def _joined_patches(grid: Tensor) -> Tensor:
    """[B,4C,h,w], each channel's 2 x 2 patch one after another -> [B,C,2h,2w]."""
    batch, channels, rows, columns = grid.shape
    patches = grid.reshape(batch, channels // 4, 2, 2, rows, columns)
    return patches.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels // 4, 2 * rows, 2 * columns)


def is_upcast(pipe: Any, vae: nn.Module) -> bool:
    """Whether the pipeline decodes with its `vae` in float32 though its weights are float16."""
    return (
        describe_pipeline(pipe).family in UPCAST_FAMILIES
        and _dtype(vae) == torch.float16
        and bool(getattr(vae.config, "force_upcast", False))
    )


def _dtype(vae: nn.Module) -> torch.dtype:
    """What it computes in: the model's own word, as weights may be stored in another (float8)."""
    own = getattr(vae, "dtype", None)
    if isinstance(own, torch.dtype):
        return own
    return next((p.dtype for p in vae.parameters() if p.is_floating_point()), torch.float32)


@contextmanager
def _decoding_dtype(vae: nn.Module, *, upcast: bool) -> Iterator[torch.dtype]:
    """The dtype to decode in; an autoencoder that float16 is too small for is float32 meanwhile."""
    dtype = _dtype(vae)
    if not upcast:
        yield dtype
        return
    nn.Module.to(vae, dtype=torch.float32)  # the class's own `to` warns of what is meant here
    try:
        yield torch.float32
    finally:
        nn.Module.to(vae, dtype=dtype)


def _undo_batch_norm(pipe: Any, own: nn.Module | None, grid: Tensor) -> Tensor:
    """FLUX.2, ERNIE-Image: latents are patches, normalised by running statistics of the `vae`."""
    norm = getattr(own, "bn", None)
    if norm is None:
        return grid
    shape = (1, -1, 1, 1)
    if grid.shape[1] != norm.running_mean.numel():
        raise DiffusionError(
            f"latents of {type(pipe).__name__}: expected {norm.running_mean.numel()} channels, "
            f"found {grid.shape[1]}"
        )
    eps = own.config.batch_norm_eps
    mean = norm.running_mean.view(shape).to(grid.device, grid.dtype)
    std = torch.sqrt(norm.running_var.view(shape) + eps).to(grid.device, grid.dtype)
    return _joined_patches(grid * std + mean)


def _check_channels(vae: nn.Module, grid: Tensor) -> None:
    expected = _num_channels(vae)
    if expected and grid.shape[1] != expected:
        raise DiffusionError(
            f"{type(vae).__name__} decodes latents of {expected} channels, found "
            f"{grid.shape[1]}: the decoder belongs to another model"
        )


def _num_channels(vae: nn.Module | None) -> int | None:
    config = getattr(vae, "config", None)
    return getattr(config, "latent_channels", None) or getattr(config, "z_dim", None)


def _denormalise(vae: nn.Module, grid: Tensor) -> Tensor:
    """Latents as the denoiser has them -> as the autoencoder wants them.

    Written as the pipelines write it, operation by operation, so that the bits agree.
    """
    config = vae.config
    mean, std = (getattr(config, name, None) for name in ("latents_mean", "latents_std"))
    scaling = getattr(config, "scaling_factor", None)
    if mean is not None and std is not None:
        shape = (1, -1, *[1] * (grid.ndim - 2))
        mean, std = (torch.tensor(row).view(shape).to(grid) for row in (mean, std))
        if scaling is None:  # Qwen-Image
            return grid / (1.0 / std) + mean
        return grid * std / scaling + mean  # SDXL's kin
    shift = getattr(config, "shift_factor", None)
    grid = grid / (scaling or 1.0)
    return grid if shift is None else grid + shift


def _undo_binning(pipe: Any, images: Tensor, height: int | None, width: int | None) -> Tensor:
    """Sana and PixArt make the nearest size that they know and cut the one asked for from it."""
    cut = getattr(getattr(pipe, "image_processor", None), "resize_and_crop_tensor", None)
    if cut is None or height is None or width is None or images.shape[-2:] == (height, width):
        return images
    return cut(images, width, height)
