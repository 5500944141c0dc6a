"""Hashes that tell one set of weights from another."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

__all__ = ["module_sha256"]


@torch.no_grad()
def module_sha256(module: nn.Module) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a module's state, in order of name.

    The device does not matter; the dtype does, since it changes scores.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().contiguous().cpu().reshape(-1)
        if flat.numel():
            digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
