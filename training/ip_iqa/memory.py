"""How much memory a training step of IP-IQA takes on a GPU, computed without one.

    python -m training.ip_iqa.memory                  # CLIP RN50 at 512 px, batches of 32: a minute
    python -m training.ip_iqa.memory --smoke                                           # seconds

A forward pass in float32 with random weights, in which every tensor that is kept for the backward
pass is counted; per image it does not depend on the batch. Beside it: weights, and for what is
trained gradients and AdamW's two moments. What a convolution needs while it runs comes on top.

Expect: docs/ip-iqa.md, "Training".
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import Tensor

from eliq.ip_iqa import IPIQAConfig, IPIQAModel, rating_loss
from training.tiny_ip_iqa import tiny_config

from .settings import RatingSettings

__all__ = ["kept_bytes", "step_bytes"]

_BATCH = 2  # batch normalisation is in training mode


def kept_bytes(model: IPIQAModel, images: Tensor, tokens: Tensor) -> int:
    """Bytes that the graph of one step keeps for its backward pass, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}  # holding them keeps their addresses apart

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        ratings = torch.zeros(len(images), len(model.config.outputs))
        rating_loss(model(images, tokens), ratings)
    return sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in weights)


def step_bytes(config: IPIQAConfig, batch_size: int) -> dict[str, float]:
    """GB of a step: kept for the backward pass, weights, gradients and moments, and their sum."""
    model = IPIQAModel(config).train()
    size, text = config.image_size_px, config.text
    images = torch.rand(_BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)
    room = config.max_prompt_tokens
    tokens = torch.tensor([[text.sot_id, *[1] * room, text.eot_id]] * _BATCH)
    kept = kept_bytes(model, images, tokens) / _BATCH * batch_size
    weights = sum(p.numel() for p in model.parameters()) * 4
    moments = sum(p.numel() for p in model.parameters() if p.requires_grad) * 12
    found = {"kept": kept, "weights": weights, "gradients_and_moments": moments}
    found["sum"] = sum(found.values())
    return {name: round(value / 1e9, 3) for name, value in found.items()}


def main(arguments: list[str] | None = None) -> int:
    """Prints one JSON object, in GB."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="side of the images in px")
    parser.add_argument("--batch", type=int, default=RatingSettings.batch_size)
    parser.add_argument("--smoke", action="store_true", help="tiny towers")
    options = parser.parse_args(arguments)
    config = tiny_config() if options.smoke else IPIQAConfig.rn50(image_size_px=options.size)
    print(json.dumps({"batch_size": options.batch, "gb": step_bytes(config, options.batch)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
