"""QLoRA: the language model's frozen matrices in 4 bits (nf4) while adapters train on them.

The 8B then weighs about 7 GB instead of 17.5 [estimated]. Only the layers that get adapters are
quantized; the vision tower, the embeddings and the head stay as they are, so that what the critic
sees of an image is not blurred. On export each layer becomes a plain matrix again, the adapter
added to what the 4 bits stand for: the merged critic is the one that was trained, up to the
rounding of its type.

bitsandbytes is optional and comes with `pip install 'eliq[qlora]'`. Run here: a tiny backbone on a
CPU with bitsandbytes 0.50; never a GPU.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from eliq.errors import TrainingError

__all__ = ["is_quantized", "quantize_linears", "unquantized"]


def quantize_linears(
    model: nn.Module, pattern: str, *, compute_dtype: torch.dtype = torch.bfloat16
) -> int:
    """Replaces, in place, every `nn.Linear` whose name matches `pattern` by a 4-bit one.

    The weights are packed where they lie, on a GPU at their first move to it. Returns how many.

    Raises:
        TrainingError: bitsandbytes is not installed, or nothing matches.
    """
    bitsandbytes = _bitsandbytes()
    found = [
        (name, layer)
        for name, layer in model.named_modules()
        if type(layer) is nn.Linear and re.fullmatch(pattern, name)
    ]
    if not found:
        raise TrainingError(
            "tuning 'qlora' found no layer of a Qwen3-VL in this backbone: set tuning to 'full'"
        )
    for name, layer in found:
        packed = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=compute_dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )
        packed.weight = bitsandbytes.nn.Params4bit(
            layer.weight.data,
            requires_grad=False,
            compress_statistics=True,
            quant_type="nf4",
            module=packed,
        )
        packed.bias = layer.bias
        # On a CPU, bitsandbytes 0.50 takes another layout to evaluate and gets back a wrong one.
        packed.support_avx512bf16_for_cpu = False
        packed.to(layer.weight.device)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, packed)
    return len(found)


def is_quantized(layer: nn.Module) -> bool:
    """Whether a layer holds 4-bit weights."""
    return type(layer).__name__ == "Linear4bit"


@torch.no_grad()
def unquantized(layer: Any) -> nn.Linear:
    """The plain layer, in its computing type, that a 4-bit layer stands for."""
    weight = _bitsandbytes().functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    plain = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    plain.weight = nn.Parameter(weight.to(layer.compute_dtype), requires_grad=False)
    plain.bias = layer.bias
    return plain


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError as error:
        raise TrainingError(
            "tuning 'qlora' needs bitsandbytes, which is not installed: "
            "pip install 'eliq[qlora]', or set tuning to 'lora'"
        ) from error
    return bitsandbytes
