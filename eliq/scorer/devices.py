"""Where a critic runs and in which type, from what a user asked for."""

from __future__ import annotations

import torch

from ..errors import ConfigError

__all__ = ["choose_device", "choose_dtype", "default_batch_px"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# One image of 512 x 512, or sixteen of 128: on a CPU larger batches are no faster and take memory.
_CPU_BATCH_PX = 1 << 18
_ACCELERATOR_BATCH_PX = 16 << 20  # 64 images of 512 x 512


def choose_device(device: str | torch.device | None) -> torch.device:
    """``device``; None = CUDA where there is one, else the CPU.

    Raises:
        ConfigError: no such device here.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError, ValueError):
        raise ConfigError(
            f"device: expected a name that torch knows, such as 'cpu' or 'cuda:0', found {device!r}"
        ) from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device: expected one of the {torch.cuda.device_count()} CUDA devices that torch sees "
            f"here, found {device!r}: use device='cpu', or install a torch built for your GPU"
        )
    return chosen


def choose_dtype(
    dtype: str | torch.dtype | None, device: torch.device, *, is_large: bool
) -> torch.dtype:
    """``dtype`` of the backbone; None = float32, or bfloat16 for a large one off the CPU.

    Raises:
        ConfigError: not one of float32, bfloat16, float16.
    """
    if dtype is None:
        return torch.bfloat16 if is_large and device.type != "cpu" else torch.float32
    chosen = _DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if chosen not in _DTYPES.values():
        raise ConfigError(f"dtype: expected one of {', '.join(_DTYPES)}, found {dtype!r}")
    return chosen


def default_batch_px(device: torch.device) -> int:
    """Pixels, after resizing, that go through the model at once when the user does not say."""
    return _CPU_BATCH_PX if device.type == "cpu" else _ACCELERATOR_BATCH_PX
