"""One model spread over several processes: torch's fully sharded data parallelism (FSDP2).

Each process holds a slice of every weight, gradient and moment; a transformer block is gathered
while it computes. Three things follow for a run: saved tensors are gathered by all processes
together (`whole`), read ones are sliced again (`sliced_like`), and at the end one process puts the
model together again in an outline made before (`outline`, `fill_outline`).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from eliq.errors import TrainingError

__all__ = ["fill_outline", "outline", "shard", "sliced_like", "whole"]

_LISTS_OF_BLOCKS = ("layers", "blocks")  # of the language model and of the vision tower


def shard(module: nn.Module, *, device: torch.device, world_size: int, offload: bool) -> None:
    """Shards `module` in place, one unit a transformer block and one for the rest.

    `offload` keeps the slices in the memory of the CPU between uses (slow, for the smallest cards).

    Raises:
        TrainingError: 4-bit weights, whose blocks of 64 a slice would cut.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    if any(parameter.dtype == torch.uint8 for parameter in module.parameters()):
        raise TrainingError(
            "FSDP cannot slice the 4-bit weights of tuning 'qlora': use tuning 'lora' with FSDP, "
            "or 'qlora' with training/runs/accelerate/ddp.yaml"
        )
    options = {
        "mesh": init_device_mesh(device.type, (world_size,)),
        "offload_policy": CPUOffloadPolicy() if offload else OffloadPolicy(),
    }
    for name, inner in list(module.named_modules()):
        if isinstance(inner, nn.ModuleList) and name.rpartition(".")[2] in _LISTS_OF_BLOCKS:
            for block in inner:
                fully_shard(block, **options)
    fully_shard(module, **options)


def whole(tensor: Tensor) -> Tensor:
    """All of a sharded tensor, which every process must ask for at once; any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def sliced_like(tensor: Tensor, reference: Tensor) -> Tensor:
    """`tensor`, which every process has read in whole, sharded as `reference` is (if it is)."""
    if not hasattr(reference, "full_tensor"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        tensor.to(reference.device), reference.device_mesh, reference.placements
    )


def outline(model: nn.Module) -> nn.Module:
    """A copy of `model` with its buffers and ties, and without any weight (device "meta")."""
    memo = {
        id(parameter): nn.Parameter(
            torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad
        )
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, memo)


@torch.no_grad()
def fill_outline(empty: nn.Module, model: nn.Module, *, keep: bool) -> nn.Module:
    """Gives the outline the weights of the sharded `model`, on the CPU, and returns it.

    All processes call it together; only those that `keep` end with the weights.
    """
    filled: dict[int, nn.Parameter] = {}
    places = dict(empty.named_parameters())
    for name, parameter in model.named_parameters():
        weight = whole(parameter.detach())
        if keep:
            filled[id(places[name])] = nn.Parameter(
                weight.to("cpu", copy=True), requires_grad=parameter.requires_grad
            )
    for module in empty.modules() if keep else ():
        for key, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            setattr(module, key, filled[id(parameter)])
    return empty
