"""What a run was asked to do, checked before anything is listed, loaded or written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError

__all__ = ["DEFAULT_PART_SIZE", "RunConfig", "default_workers"]

DEFAULT_PART_SIZE = 1000


@dataclass(frozen=True)
class RunConfig:
    """One run over a set of images.

    Attributes:
        source: a folder, a .csv, .jsonl or .parquet manifest, a .tar, or a pattern of tars.
        out_dir: where the result goes; made if it is not there.
        prompt: of every image.
        prompts_path: a manifest that names prompts for a folder's images.
        checkpoint, zero_shot, device, dtype, batch_px: as for `eliq.Scorer`.
        workers: processes that decode; None = `default_workers`.
        part_size: images of a part file: what a kill costs at most; None = as many as in the run
            that is in ``out_dir``, else `DEFAULT_PART_SIZE`.
        limit: only the first so many images.
        max_errors: more failed images than this end the run.
        retry_failed: score the failed rows of finished parts again.
        thumbnails: keep a small JPEG of each image, for the report.
        item_timeout_s: an image that takes longer to decode becomes a failed row.
        rank, world_size: this process scores every ``world_size``-th unit from ``rank`` on.

    Raises:
        ConfigError: a value outside what it may be.
    """

    source: str
    out_dir: str | Path
    prompt: str | None = None
    prompts_path: str | None = None
    checkpoint: str | None = None
    zero_shot: str | None = None
    device: str | None = None
    dtype: str | None = None
    batch_px: int | None = None
    workers: int | None = None
    part_size: int | None = None
    limit: int | None = None
    max_errors: int | None = None
    retry_failed: bool = False
    thumbnails: bool = True
    item_timeout_s: float = 5.0
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "out_dir", Path(self.out_dir))
        if not os.fspath(self.source):
            raise ConfigError("source: expected a folder, a manifest or tars, found an empty text")
        if self.prompt is not None and self.prompts_path is not None:
            raise ConfigError("prompt and prompts_path: expected one of them, found both")
        if self.checkpoint is not None and self.zero_shot is not None:
            raise ConfigError("checkpoint and zero_shot: expected one of them, found both")
        for name, least in (("workers", 1), ("part_size", 1), ("limit", 1), ("max_errors", 0)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise ConfigError(f"{name}: expected {least} or more, found {value!r}")
        if not 0 < self.item_timeout_s <= 3600:
            raise ConfigError(
                f"item_timeout_s: expected up to 3600 seconds, found {self.item_timeout_s!r}"
            )
        if not 0 <= self.rank < self.world_size:
            raise ConfigError(
                f"rank: expected 0 to {self.world_size - 1} of world_size {self.world_size}, "
                f"found {self.rank}"
            )


def default_workers() -> int:
    """One a core that this process may use, but one for the model; on two cores two, at most 8.

    There a model on the CPU uses both cores and waits for the slower one: decoding that burdens
    them evenly costs half of what it does on one of them (`benchmarks/run.py`).
    """
    try:
        num_cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS or Windows
        num_cores = os.cpu_count() or 1
    return min(num_cores, max(2, min(8, num_cores - 1)))
