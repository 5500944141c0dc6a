"""Chosen items of ComfyUI's batches, in a chosen order. Nothing of ComfyUI.

Shapes: B = items in the batch, K = items taken.
IMAGE: float [B,H,W,C]. MASK: float [B,H,W] or [H,W]. LATENT: a dict of which `samples` is
[B,C,h,w], [B,C,T,h,w], or nested: several tensors of the same B behind one object.
A batch that holds another number of items than expected raises ValueError: items that belong to
another image must never be handed on in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["take_images", "take_latents", "take_masks"]


def take_images(images: Tensor, positions: Sequence[int], *, num_items: int) -> Tensor:
    """The images ``positions`` [K,H,W,C].

    Raises:
        ValueError: not ``num_items`` images.
    """
    if images.ndim != 4 or len(images) != num_items:
        raise ValueError(
            f"images: expected a batch of {num_items}, as many as there are scores, found shape "
            f"{list(images.shape)}: link the images and the scores of the same ELIQ Score"
        )
    return images[list(positions)]


def take_masks(masks: Tensor, positions: Sequence[int], *, num_items: int) -> Tensor:
    """The masks ``positions`` [K,H,W]; a single mask is meant for every image.

    Raises:
        ValueError: neither one mask nor ``num_items``.
    """
    if masks.ndim == 2:
        masks = masks[None]
    if masks.ndim < 3 or len(masks) not in (1, num_items):
        raise ValueError(
            f"mask: expected 1 or {num_items}, one an image, found shape {list(masks.shape)}: "
            "link the masks that belong to these images"
        )
    return masks[_wrapped(positions, len(masks))]


def take_latents(
    latent: Mapping[str, Any], positions: Sequence[int], *, num_items: int
) -> dict[str, Any]:
    """The latents ``positions``, with everything in the dict that belongs to one item each.

    Any other tensor whose first side is B is taken along, and what belongs to the whole batch is
    kept. ``batch_index`` is kept, or made where it is missing: by it a sampler gives an item the
    noise that it had in the full batch.

    Raises:
        ValueError: not ``num_items`` latents.
    """
    samples = latent["samples"]
    if samples.shape[0] != num_items:
        raise ValueError(
            f"latent: expected {num_items} items, one an image, found {samples.shape[0]}: link "
            "the latent that these images were decoded from (frames of one video share a latent)"
        )
    taken: dict[str, Any] = {}
    for name, value in latent.items():
        if name == "noise_mask":
            taken[name] = _take_noise_mask(value, samples, positions)
        elif name != "batch_index":
            taken[name] = _take_where_matching(value, positions, num_items)
    numbers = latent.get("batch_index")
    if numbers is None or len(numbers) != num_items:
        numbers = range(num_items)
    taken["batch_index"] = [int(numbers[position]) for position in positions]
    return taken


def _take_where_matching(value: Any, positions: Sequence[int], num_items: int) -> Any:
    if _is_nested(value):
        parts = [_take_where_matching(part, positions, num_items) for part in value.unbind()]
        return type(value)(parts)
    if isinstance(value, Tensor) and value.ndim and len(value) == num_items:
        return value[list(positions)]
    return value


def _take_noise_mask(mask: Any, samples: Any, positions: Sequence[int]) -> Any:
    parts = samples.unbind() if _is_nested(samples) else [samples]
    if _is_nested(mask):
        pairs = zip(mask.unbind(), parts, strict=False)  # the first parts alone may be masked
        return type(mask)([_take_noise_mask(one, part, positions) for one, part in pairs])
    if mask.ndim < 3 or (parts[0].ndim == 5 and mask.ndim < 5):
        return mask  # for a video's latent, the sampler reads the masks as frames of every item
    return mask[_wrapped(positions, len(mask))]


def _wrapped(positions: Sequence[int], num_masks: int) -> list[int]:
    """The sampler repeats masks until there are enough of them: item i has mask i mod their number.

    One mask for all thus becomes one for each item taken.
    """
    return [position % num_masks for position in positions]


def _is_nested(value: Any) -> bool:
    """Whether it is ComfyUI's container of several tensors (torch's own are tensors)."""
    return not isinstance(value, torch.Tensor) and getattr(value, "is_nested", False)
