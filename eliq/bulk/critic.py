"""The critic that a run names: looked for, or loaded."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import BackboneError
from .config import RunConfig

if TYPE_CHECKING:
    from ..ip_iqa import IPIQA
    from ..scorer import Scorer

__all__ = ["check_critic", "load_critic"]


def check_critic(config: RunConfig) -> None:
    """Look whether there is such a critic, by its config.json alone.

    Raises:
        EliqError: there is none.
    """
    from ..checkpoint.location import resolve_directory
    from ..loading import find_system

    if config.checkpoint is not None:
        find_system(config.checkpoint)
    elif config.zero_shot is not None:
        named = {"what": "a Qwen-VL model", "error": BackboneError}
        resolve_directory(config.zero_shot, files=("config.json",), **named)


def load_critic(config: RunConfig) -> Scorer | IPIQA:
    """The critic on its device.

    Raises:
        EliqError: as `eliq.Scorer.from_pretrained` and `zero_shot`.
    """
    # Messages are the run's to write: a load prints neither advice nor bars of other libraries.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from ..loading import load_scorer
    from ..scorer import Scorer

    options = {"device": config.device, "dtype": config.dtype, "max_batch_px": config.batch_px}
    if config.zero_shot is not None:
        return Scorer.zero_shot(config.zero_shot, **options)
    return load_scorer(config.checkpoint, **options)
