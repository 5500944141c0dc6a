"""What a run of many hours would trip over late: asked before it begins."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from eliq.errors import TrainingError

from ..evaluation import READERS, RatedSet
from .config import RunConfig

__all__ = ["check_libraries", "read_rated"]

_OWN = ("embedded", "tiny")  # small enough to be tuned in full, unless the config says otherwise


def check_libraries(config: RunConfig) -> None:
    """Raises TrainingError, naming the extra to install, where a library of a later step is
    missing."""
    tuning = config.stage1.get("tuning")
    if tuning is None:
        name = config.backbone.name
        tuning = "full" if name in _OWN or Path(name).is_dir() else "lora"
    generates = config.images is None or config.negatives is not None
    needed = {
        "diffusers": (generates, "generating images", "diffusers"),
        "peft": (tuning in ("lora", "qlora"), f"tuning {tuning!r}", "train"),
        "bitsandbytes": (tuning == "qlora", "tuning 'qlora'", "qlora"),
    }
    for library, (is_needed, what, extra) in needed.items():
        if is_needed and find_spec(library) is None:
            raise TrainingError(
                f"{what} needs {library}, which is not installed: pip install 'eliq[{extra}]'"
            )


def read_rated(config: RunConfig) -> list[RatedSet]:
    """The benchmarks of the evaluation at the end. Raises EvaluationError where one is not as it
    was published, or not where the config says."""
    return [READERS[name](Path(path)) for name, path in config.evaluation.sets.items()]
