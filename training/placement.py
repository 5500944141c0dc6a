"""Where a run computes: one device, or several processes through accelerate.

On one device nothing but torch is needed. Started by `accelerate launch` or `torchrun` with more
than one process, every process takes its own micro-batches, and the first one alone saves, logs
and draws. The files in training/runs/accelerate/ start each of the forms:

- `one_gpu.yaml`: one process. `cpu_ddp.yaml`: two on a CPU (gloo).
- `ddp.yaml`: the whole model in each process (DistributedDataParallel, by accelerate).
- `fsdp.yaml`: slices of it in each (torch's FSDP2, `sharding.py`). accelerate's own sharding puts
  the head of the language model in a unit of its own, whose weight the low/high margins of our
  forward would meet in slices, and it never shards on a CPU, where the tests run.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from eliq.errors import ConfigError, TrainingError

from .sharding import shard

__all__ = ["Placement"]

# While the first process makes a supervision set or draws, the others wait for it: NCCL's own
# patience is ten minutes.
PATIENCE = timedelta(hours=6)


class Placement:
    """`device`, `rank` and `world_size` of this process, and what differs between them.

    `is_sharded` says that the model lies in slices over the processes.

    Raises:
        TrainingError: several processes without accelerate, FSDP of the first version, or
            processes that do not find one another.
    """

    def __init__(self, device: str | torch.device | None = None) -> None:
        self._accelerator: Any = None
        self.rank, self.world_size = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self.is_sharded = self.world_size > 1 and _asks("ACCELERATE_USE_FSDP")
        if self.world_size == 1:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            return
        if self.is_sharded and os.environ.get("FSDP_VERSION", "2") != "2":
            raise TrainingError(
                f"FSDP: expected fsdp_version 2, found {os.environ['FSDP_VERSION']}; take "
                "training/runs/accelerate/fsdp.yaml"
            )
        try:
            from accelerate import Accelerator
            from accelerate.utils import InitProcessGroupKwargs
        except ImportError as error:
            raise TrainingError(
                "several processes need accelerate: pip install 'eliq[train]'"
            ) from error
        # Asked for a GPU where there is none, accelerate would make of each process a lone one, and
        # all of them would write the same files.
        is_cpu = not torch.cuda.is_available() if device is None else _is_cpu(device)
        self._accelerator = Accelerator(
            cpu=is_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)]
        )
        if self._accelerator.num_processes != self.world_size:
            raise TrainingError(
                f"expected {self.world_size} processes that know of one another, as WORLD_SIZE "
                f"says, found {self._accelerator.num_processes}: start them by accelerate launch "
                "or torchrun, with --device cpu where there are no GPUs"
            )
        self.device = self._accelerator.device
        self.rank = self._accelerator.process_index

    def __enter__(self) -> Placement:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # after an error the others may be anywhere, and are ended by the launcher
            self.close()

    def close(self) -> None:
        """Waits for all processes and parts them: from here on each is alone.

        A process that ends without it may abort in gloo's threads, and the launcher would then end
        the first one too, in the middle of what it does alone.
        """
        if self._accelerator is None:
            return
        self.wait()
        self._accelerator = None
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def check_shared(self, out: object) -> None:
        """Several processes write one folder; a temporary one each would not be it.

        Raises:
            ConfigError: `out` is None, and there are several.
        """
        if out is None and self.world_size > 1:
            raise ConfigError("several processes need one folder to write: give --out")

    def loading_device(self, tuning: str) -> torch.device:
        """Where to load a backbone: on the CPU, if `wrap` makes it smaller as it moves it."""
        return torch.device("cpu") if self.is_sharded or tuning == "qlora" else self.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on the device, wrapped where there are several processes.

        A sharded one is changed in place: build optimizers from it afterwards.
        """
        if self.is_sharded:  # moves one block after the other: no card ever holds the whole
            offload = _asks("FSDP_OFFLOAD_PARAMS")
            shard(module, device=self.device, world_size=self.world_size, offload=offload)
            return module
        module.to(self.device)
        return module if self._accelerator is None else self._accelerator.prepare(module)

    @contextlib.contextmanager
    def accumulate(self, wrapped: nn.Module, *, last: bool):
        """A context that exchanges gradients only in the `last` micro-batch of a step."""
        if self.is_sharded:
            wrapped.set_requires_gradient_sync(last)
        elif not last and hasattr(wrapped, "no_sync"):
            with wrapped.no_sync():
                yield
            return
        yield

    def any(self, flag: bool) -> bool:
        """Whether any process says yes (a stop request may reach one of them only)."""
        return self.mean({"flag": float(flag)})["flag"] > 0

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The mean of each value over the processes, the same in all of them."""
        if self._accelerator is None:
            return dict(values)
        ours = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        means = self._accelerator.reduce(ours, "mean").tolist()
        return dict(zip(values, means, strict=True))

    @contextlib.contextmanager
    def main_first(self):
        """A context in which the first process works alone, and the others when it is through."""
        if not self.is_main:
            self.wait()
        yield
        if self.is_main:
            self.wait()

    def release(self) -> None:
        """Lets go of the modules that were wrapped: accelerate holds each one until it is told."""
        if self._accelerator is not None:
            self._accelerator.free_memory()

    def wait(self) -> None:
        """Waits until every process is here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()


def _is_cpu(device: str | torch.device) -> bool:
    return torch.device(device).type == "cpu"


def _asks(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("true", "1")
