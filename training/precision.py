"""What a backbone computes in while it is trained: bfloat16 where the hardware multiplies it.

A CPU without units for bfloat16 widens every number, multiplies in float32 and rounds again, which
takes longer than float32 alone (`python benchmarks/training_precision.py`).
"""

from __future__ import annotations

from functools import lru_cache

import torch

__all__ = ["bf16_autocast", "has_bfloat16_units"]


@lru_cache(maxsize=1)
def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX-512 BF16, AMX, BF16 of Arm)."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(value is True and "bf16" in name for name, value in found.items())
    asked = [  # of older versions of torch
        getattr(torch.cpu, name)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        if hasattr(torch.cpu, name)
    ]
    return any(asked) if asked else True


def bf16_autocast(device_type: str = "cpu", *, enabled: bool = True) -> torch.autocast:
    """A context of bfloat16 products; float32 where not `enabled`, or quicker on this CPU."""
    is_worth_it = device_type != "cpu" or has_bfloat16_units()
    return torch.autocast(device_type, torch.bfloat16, enabled=enabled and is_worth_it)
