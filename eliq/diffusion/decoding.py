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

__all__ = ["latents_to_images", "unpack_latents"]

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
    with _decoding_dtype(vae, upcast=vae is own and facts.family in UPCAST_FAMILIES) as dtype:
        grid = grid.to(device=module_device(vae), dtype=dtype)
        grid = _undo_batch_norm(pipe, own, grid)
        if decoder is not None and grid.ndim == 5:
            grid = grid[:, :, 0]  # a preview decoder knows no frames
        _check_channels(vae, grid)
        images = vae.decode(_denormalise(vae, grid), return_dict=False)[0]
    if images.ndim == 5:
        images = images[:, :, 0]
    images = _undo_binning(pipe, images, height, width)
    return (images / 2 + 0.5).clamp(0, 1).to(device=device, dtype=torch.float32)


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
    if latents.ndim != 3 or not facts.packed_latents:
        expected = "[B,L,C] or [B,C,h,w]" if facts.packed_latents else "[B,C,h,w]"
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
    return latents.transpose(1, 2).reshape(batch, channels, rows, columns)


@contextmanager
def _decoding_dtype(vae: nn.Module, *, upcast: bool) -> Iterator[torch.dtype]:
    """The dtype to decode in; an autoencoder that float16 is too small for is float32 meanwhile."""
    dtype = next((p.dtype for p in vae.parameters() if p.is_floating_point()), torch.float32)
    if not (upcast and dtype == torch.float16 and getattr(vae.config, "force_upcast", False)):
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
    if norm is None or not hasattr(pipe, "_unpatchify_latents"):
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
    return pipe._unpatchify_latents(grid * std + mean)


def _check_channels(vae: nn.Module, grid: Tensor) -> None:
    expected = getattr(vae.config, "latent_channels", None) or getattr(vae.config, "z_dim", None)
    if expected and grid.shape[1] != expected:
        raise DiffusionError(
            f"{type(vae).__name__} decodes latents of {expected} channels, found "
            f"{grid.shape[1]}: the decoder belongs to another model"
        )


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
