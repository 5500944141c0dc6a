"""Where a run computes: one device, or several processes through accelerate.

On one device nothing but torch is needed. Started by `accelerate launch` or `torchrun` with more
than one process, the module is wrapped by accelerate; every process then takes its own
micro-batches, and the first one alone saves, logs and draws.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import torch
from torch import nn

from eliq.errors import TrainingError

__all__ = ["Placement"]


class Placement:
    """`device`, `rank` and `world_size` of this process, and what differs between them."""

    def __init__(self, device: str | torch.device | None = None) -> None:
        self._accelerator: Any = None
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            try:
                from accelerate import Accelerator
            except ImportError as error:
                raise TrainingError(
                    "several processes need accelerate: pip install 'eliq[train]'"
                ) from error
            self._accelerator = Accelerator(
                cpu=device is not None and torch.device(device).type == "cpu"
            )
            self.device = self._accelerator.device
            self.rank = self._accelerator.process_index
            self.world_size = self._accelerator.num_processes
            return
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.rank, self.world_size = 0, 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on the device, wrapped where there are several processes."""
        module.to(self.device)
        return module if self._accelerator is None else self._accelerator.prepare(module)

    def accumulate(self, wrapped: nn.Module, *, last: bool) -> contextlib.AbstractContextManager:
        """A context that exchanges gradients only in the `last` micro-batch of a step."""
        if last or not hasattr(wrapped, "no_sync"):
            return contextlib.nullcontext()
        return wrapped.no_sync()

    def any(self, flag: bool) -> bool:
        """Whether any process says yes (a stop request may reach one of them only)."""
        if self._accelerator is None:
            return flag
        value = torch.tensor(float(flag), device=self.device)
        return bool(self._accelerator.reduce(value, "sum") > 0)

    def wait(self) -> None:
        """Waits until every process is here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()
