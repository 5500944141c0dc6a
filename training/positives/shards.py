"""Which part of the work is this process's, and on which device.

`accelerate launch` and `torchrun` say so in the environment. Processes that generate never wait for
one another, so no process group is made, and nothing times out however long an image takes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from eliq.errors import ConfigError

__all__ = ["Shard"]

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """Process `rank` of `world_size`, computing on `device`."""

    rank: int = 0
    world_size: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"shard: expected a rank from 0 to below the number of processes, found "
                f"{self.rank} of {self.world_size}"
            )

    @classmethod
    def from_environment(cls, device: str | None = None) -> Shard:
        """By RANK, WORLD_SIZE and LOCAL_RANK; alone where they are not set.

        Args:
            device: None = the GPU of the local rank, or the CPU where there is none.

        Raises:
            ConfigError: values that are no such numbers.
        """
        values = {}
        for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
            text = os.environ.get(name, default)
            if not text.isdecimal():
                raise ConfigError(f"{name}: expected a whole number, found {text!r}")
            values[name] = int(text)
        if device is None:
            has_gpu = torch.cuda.is_available()
            device = f"cuda:{values['LOCAL_RANK']}" if has_gpu else "cpu"
        return cls(values["RANK"], values["WORLD_SIZE"], device)

    @classmethod
    def from_text(cls, text: str, device: str | None = None) -> Shard:
        """ "2/8": the third of eight, for schedulers that start processes on their own.

        Raises:
            ConfigError: another text.
        """
        rank, slash, size = text.partition("/")
        if not (slash and rank.isdecimal() and size.isdecimal()):
            raise ConfigError(f"shard: expected RANK/SIZE such as 0/8, found {text!r}")
        found = cls.from_environment(device)
        return cls(int(rank), int(size), found.device)

    def take(self, items: Sequence[T]) -> Sequence[T]:
        """Every `world_size`-th item, from `rank` on: each item belongs to exactly one process."""
        return items[self.rank :: self.world_size]
