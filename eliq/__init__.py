"""ELIQ scores a generated image twice, without human labels: visual quality, and alignment with
its prompt.

    from eliq import Scorer

    scorer = Scorer.from_pretrained()
    scores = scorer.score(images, prompts)

Names are loaded when they are first used: `import eliq` costs neither torch nor transformers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import (
    BackboneError,
    BulkError,
    CheckpointError,
    ConfigError,
    DiffusionError,
    EliqError,
    EvaluationError,
    ImageError,
    PromptError,
    SupervisionError,
    TrainingError,
)

if TYPE_CHECKING:
    from .calibration import Calibration
    from .loading import load_scorer
    from .scorer import Scorer
    from .scores import Scores

__version__ = "0.1.0"

__all__ = [
    "BackboneError",
    "BulkError",
    "Calibration",
    "CheckpointError",
    "ConfigError",
    "DiffusionError",
    "EliqError",
    "EvaluationError",
    "ImageError",
    "PromptError",
    "Scorer",
    "Scores",
    "SupervisionError",
    "TrainingError",
    "__version__",
    "load_scorer",
]

_MODULES = {
    "Calibration": ".calibration",
    "Scorer": ".scorer",
    "Scores": ".scores",
    "load_scorer": ".loading",
}


def __getattr__(name: str) -> object:
    """A public name, imported at its first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_MODULES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
